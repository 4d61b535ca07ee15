/**
 * From a stack to an image that scenarios can use: the archive, its layers as overlayfs lower directories, the merged
 * tree as a plain directory, and the lists of paths for the load generators. Built once, in the work directory.
 */
import { mkdirSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { cached, compiled } from '../lib/work.js';
import { writeDockerArchive } from './docker-archive.js';
import { writeDirectory, writeLayerTar } from './write-stack.js';

/** Raised whenever the bytes that builders write change; figures of different versions are not compared. */
export const RECIPE_VERSION = 1;

/**
 * recipe: { name, describe(): Stack, keepLayerTars?: boolean }. ->
 * { name, version, archive, sources: [{ diffId, offset, sizeBytes }], lowers: directories bottom to top, plain,
 *   layerTars: paths or [], lists: { paths, files, small, missing }, entries, contentBytes, archiveBytes, sample: a file }
 */
export function buildImage(work, recipe) {
  return cached(work, recipe.name, RECIPE_VERSION, async (directory) => {
    const stack = recipe.describe();
    const overlayTool = compiled(work, 'overlay-tool');
    const at = (name) => join(directory, name);

    const layers = [];
    const lowers = [];
    mkdirSync(at('tars'));
    mkdirSync(at('l'));
    for (const [index, operations] of stack.layers.entries()) {
      layers.push(await writeLayerTar(at(`tars/${index}.tar`), operations));
      lowers.push(at(`l/${index}`));
      writeDirectory(lowers.at(-1), operations, overlayTool);
    }
    const repository = `bench/${recipe.name}`;
    const { archive, sources } = await writeDockerArchive(at('image.tar'), layers, { repository });
    if (!recipe.keepLayerTars) rmSync(at('tars'), { recursive: true });

    const visible = [...stack.visible()];
    writeDirectory(at('plain'), visible, overlayTool);

    const files = visible.filter((operation) => operation.kind === 'file');
    const directories = visible.filter((operation) => operation.kind === 'dir');
    const small = files.filter((operation) => operation.sizeBytes >= 1024 && operation.sizeBytes <= 16384);
    const lists = {
      paths: visible.map(pathOf),
      files: files.map(pathOf),
      small: everyNth(small, 2000).map(pathOf),
      missing: directories.flatMap(({ path }) =>
        ['node_modules', 'index.missing', '.env'].map((n) => `${path}/${n}`),
      ),
    };
    const listFiles = {};
    for (const [name, paths] of Object.entries(lists)) {
      listFiles[name] = at(`${name}.list`);
      writeFileSync(listFiles[name], paths.map((path) => `${path}\n`).join(''));
    }
    return {
      name: recipe.name,
      version: RECIPE_VERSION,
      archive,
      sources,
      lowers,
      plain: at('plain'),
      layerTars: recipe.keepLayerTars ? layers.map((layer) => layer.path) : [],
      lists: listFiles,
      entries: visible.length,
      contentBytes: files.reduce((sum, operation) => sum + operation.sizeBytes, 0),
      archiveBytes: sources.reduce((sum, source) => sum + source.sizeBytes, 0),
      sample: recipe.sample ?? pathOf(small[small.length >> 1]),
    };
  });
}

const pathOf = (operation) => operation.path;

/** About `wanted` of the list, spread over all of it. */
function everyNth(list, wanted) {
  const step = Math.max(1, Math.floor(list.length / wanted));
  return list.filter((_, index) => index % step === 0);
}
