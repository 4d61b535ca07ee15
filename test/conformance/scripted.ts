/** Conformance cases that are scripts of system calls (test/helpers/script.py) run in a kit. */
import { expect } from 'vitest';
import { runScript } from '../helpers/script.js';
import type { Case } from './case.js';
import { ACL, CAPABILITY } from './image.js';
import { BIG_SIZE, DEFAULT_ACL } from './kit.js';

const VARS = {
  acl: ACL,
  capability: CAPABILITY,
  defaultAcl: DEFAULT_ACL,
  bigSize: String(BIG_SIZE),
  name255: 'n'.repeat(255),
  name256: 'n'.repeat(256),
};

/** @param name a sentence that is true when every line of `text` gives what it should */
export function scripted(name: string, text: string, except: Case['except'] = {}): Case {
  return {
    name,
    except,
    async run({ dir }) {
      expect(await runScript(dir, text, VARS)).toEqual([]);
    },
  };
}

/** The lines of `each`, one after the other. */
export function lines<T>(values: readonly T[], each: (value: T) => string): string {
  return values.map(each).join('\n');
}
