/** A subject mounted afresh for one measurement, and the load generators run on it. */
import { mkdirSync, mkdtempSync, rmdirSync } from 'node:fs';
import { join } from 'node:path';
import { prioritise } from './priority.js';
import { serversOf } from './processes.js';
import { dropDentriesAndInodes, run } from './system.js';
import { compiled, SERVER } from './work.js';

/** What every scenario is given: the work directory and what can be done in it. */
export class Context {
  #warm = new Set();
  #prepared = new Set();

  constructor(work, { places, laminaOptions }) {
    this.work = work;
    this.places = places;
    this.laminaOptions = laminaOptions;
    this.writeLoadProgram = compiled(work, 'write-load');
    mkdirSync(join(work, 'mnt'), { recursive: true });
  }

  /** Mounts, drops dentries and inodes, calls `action(directory)`, unmounts whatever happens. */
  async mounted(subject, image, action) {
    this.warmSources(image);
    this.#prepare(subject, image);
    const directory = mkdtempSync(join(this.work, 'mnt', 'm-'));
    try {
      const mount = subject.mount(image, directory, { work: this.work });
      try {
        prioritise(serversOf(directory));
        dropDentriesAndInodes();
        return await action(directory);
      } finally {
        mount.umount();
      }
    } finally {
      rmdirSync(directory);
    }
  }

  /** What the subject does once for an image, before the first sample. */
  #prepare(subject, image) {
    const key = `${subject.name} ${image.name}`;
    if (this.#prepared.has(key)) return;
    this.#prepared.add(key);
    subject.prepare?.(image, { work: this.work });
  }

  /** Runs `lamina-fuse load` (native/load/load.h), which `lamina bench` uses too; -> { seconds, operations, bytes }. */
  load(...args) {
    return JSON.parse(run(SERVER, ['load', ...args]));
  }

  /** Runs bench/load/write-load.cc; -> { seconds, operations, bytes }. */
  write(...args) {
    return JSON.parse(run(this.writeLoadProgram, args.map(String)));
  }

  /** Reads everything that the subjects read from, once, so that no figure depends on the disk. */
  warmSources(image) {
    if (this.#warm.has(image.name)) return;
    this.#warm.add(image.name);
    run('sync', []);
    const sources = [image.archive, image.plain, ...image.lowers, ...image.layerTars];
    run('find', [...sources, '-type', 'f', '-exec', 'cat', '{}', '+'], { stdio: 'ignore' });
  }
}

/**
 * Two passes over a fresh mount, of which the first is cold and the second warm. `pass(directory)` gives
 * { seconds, operations, bytes }; -> one measurement for each, in microseconds an operation or seconds as `unit` says.
 */
export async function coldAndWarm(context, subject, image, { metric, unit, first = 'cold', pass }) {
  return context.mounted(subject, image, (directory) =>
    [first, 'warm'].map((temperature) => {
      const result = pass(directory);
      return {
        metric: `${metric}-${temperature}`,
        image: image.name,
        unit,
        value: unit === 'us' ? (result.seconds / result.operations) * 1e6 : result.seconds,
        check: `${result.operations} operations, ${result.bytes} bytes`,
      };
    }),
  );
}
