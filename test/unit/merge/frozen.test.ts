/**
 * Frozen examples: the sha256 of the merged TOC of every kept stack, per format version. What the trees should be is
 * checked against kernel overlayfs elsewhere (test/differential); this holds the bytes, so that the format cannot change unseen.
 * After a wanted change of the format: a new version, and LAMINA_FREEZE=1 to write its digests.
 */
import { createHash } from 'node:crypto';
import { existsSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { fileURLToPath } from 'node:url';
import { expect, it } from 'vitest';
import { encodeToc } from '../../../src/merge/encode.js';
import { mergeLayers } from '../../../src/merge/merge.js';
import { TOC_VERSION } from '../../../src/merge/toc-format.js';
import { decodeTree, TocReader } from '../../../src/merge/toc-reader.js';
import { indexSources, withSources } from '../../helpers/merged-dump.js';
import { layerTar } from '../../helpers/stack.js';
import type { Stack } from '../../helpers/stack.js';

const STACKS = fileURLToPath(new URL('../../fixtures/stacks/', import.meta.url));
const FROZEN = fileURLToPath(new URL(`../../fixtures/frozen-toc-v${TOC_VERSION}.json`, import.meta.url));

/** The examples that are frozen: differential runs may add stacks to the folder without a digest. */
const frozen: Record<string, string> = existsSync(FROZEN)
  ? (JSON.parse(readFileSync(FROZEN, 'utf8')) as Record<string, string>)
  : {};
const isFreezing = process.env.LAMINA_FREEZE === '1';

async function mergedToc(name: string): Promise<Buffer> {
  const stack = JSON.parse(readFileSync(path.join(STACKS, name), 'utf8')) as Stack;
  const tars = stack.map(layerTar);
  return withSources(tars, tmpdir(), (sources) => encodeToc(mergeLayers(indexSources(sources, tars))));
}

const names = isFreezing ? readdirSync(STACKS).sort() : Object.keys(frozen);

it('has examples', () => expect(names.length).toBeGreaterThan(5));

it.each(names)('%s', async (name) => {
  const toc = await mergedToc(name);
  const digest = createHash('sha256').update(toc).digest('hex');
  if (isFreezing) frozen[name] = digest;
  expect(digest).toBe(frozen[name]);
  const again = await encodeToc(decodeTree(new TocReader(toc, name)));
  expect(again.equals(toc), 'decoding and encoding gives the same bytes').toBe(true);
  if (isFreezing) writeFileSync(FROZEN, `${JSON.stringify(frozen, null, 2)}\n`);
});
