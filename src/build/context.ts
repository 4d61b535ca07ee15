/**
 * Where a build gets its files from: a directory, a tar or a lone Dockerfile on standard input, a tar or Dockerfile behind a URL, or a git
 * repository. Nothing of a tar is unpacked: it is read as the layer of an image is.
 */
import { closeSync, existsSync, fstatSync, openSync, readFileSync, statSync } from 'node:fs';
import path from 'node:path';
import { utf8ToBytes } from '../bytes.js';
import { LaminaError } from '../errors.js';
import { withDownload } from '../image/import-image.js';
import { withInput } from '../image/input.js';
import type { ImageView } from '../merge/view.js';
import { Cache } from '../store/cache.js';
import { cloneGit, isGit, isUrl, openTar } from './add-sources.js';
import type { OpenedTree } from './add-sources.js';
import { viewDirectory } from './directory-tree.js';
import { parseDockerfile } from './dockerfile.js';
import type { Dockerfile } from './dockerfile.js';
import { emptyView, filteredView } from './filtered-tree.js';
import { ignoreMatcher, parseIgnoreFile } from './ignore.js';

export interface BuildContext {
  dockerfile: Dockerfile;
  /** Of the files that .dockerignore leaves. Read when it is first asked for. */
  view(): Promise<ImageView>;
  /** Where they lie, for those who mount them; undefined where they do not lie in a directory. */
  directory: string | undefined;
}

export interface ContextOptions {
  /** Directory of the store. */
  root: string;
  /** A directory, `-`, or a URL. */
  place: string;
  /** `-f`; `-` is standard input. */
  file: string | undefined;
}

/** The context for as long as `use` runs. Raises ENOENT, EDOCKERFILE, EUSAGE, EIO, EBUILD (git). */
export async function withContext<T>(
  options: ContextOptions,
  use: (context: BuildContext) => Promise<T>,
): Promise<T> {
  const { root, place, file } = options;
  await Cache.open(root);
  if (place === '-' && file === '-')
    throw new LaminaError(
      'EUSAGE',
      'invalid argument: cannot use stdin for both build context and dockerfile',
    );
  if (place === '-') return withInput(root, '-', (input) => withFile(root, input, file, use));
  if (isGit(place)) {
    const clone = await cloneGit(root, place);
    try {
      return await withDirectory(clone.directory, root, file, use);
    } finally {
      await clone.close();
    }
  }
  if (isUrl(place)) return withDownload(root, place, (input) => withFile(root, input, file, use));
  const status = statSync(place, { throwIfNoEntry: false });
  if (status === undefined)
    throw new LaminaError('ENOENT', `unable to prepare context: path "${place}" not found`, { path: place });
  if (!status.isDirectory())
    throw new LaminaError('ENOTDIR', `unable to prepare context: "${place}" is not a directory`, {
      path: place,
    });
  return withDirectory(place, root, file, use);
}

async function withDirectory<T>(
  directory: string,
  root: string,
  file: string | undefined,
  use: (context: BuildContext) => Promise<T>,
): Promise<T> {
  const { text, name, at } = await readDockerfile(directory, root, file);
  const dockerfile = parseDockerfile(text, name);
  const ignoreFile = [
    ...(at === undefined ? [] : [`${at}.dockerignore`]),
    path.join(directory, '.dockerignore'),
  ].find((candidate) => existsSync(candidate));
  const isIgnored =
    ignoreFile === undefined ? undefined : ignoreMatcher(parseIgnoreFile(readFileSync(ignoreFile, 'utf8')));
  let opened: Promise<OpenedTree> | undefined;
  const context: BuildContext = {
    dockerfile,
    directory,
    view: async () => (await (opened ??= viewDirectory(directory, isIgnored))).view,
  };
  try {
    return await use(context);
  } finally {
    (await opened?.catch(() => undefined))?.close();
  }
}

async function readDockerfile(
  directory: string,
  root: string,
  file: string | undefined,
): Promise<{ text: string; name: string; at: string | undefined }> {
  if (file === '-') {
    if (process.stdin.isTTY)
      throw new LaminaError(
        'EUSAGE',
        'cannot read a Dockerfile from a terminal: redirect it into the command',
      );
    const text = await withInput(root, '-', async (input) => readFileSync(input, 'utf8'));
    return { text, name: 'Dockerfile', at: undefined };
  }
  // As docker, which looks for -f beside where it is called.
  const candidates =
    file === undefined
      ? [
          path.join(directory, 'Dockerfile'),
          path.join(directory, 'dockerfile'),
          path.join(directory, 'Containerfile'),
        ]
      : [path.resolve(file), path.resolve(directory, file)];
  const at = candidates.find(
    (candidate) => statSync(candidate, { throwIfNoEntry: false })?.isFile() === true,
  );
  if (at === undefined)
    throw new LaminaError(
      'ENOENT',
      `failed to read dockerfile: open ${file ?? 'Dockerfile'}: no such file or directory`,
      {
        path: candidates[0]!,
        hint: 'Name it with -f.',
      },
    );
  return { text: readFileSync(at, 'utf8'), name: path.basename(at), at };
}

/** A tar with everything in it, or a Dockerfile alone. */
async function withFile<T>(
  root: string,
  input: string,
  file: string | undefined,
  use: (context: BuildContext) => Promise<T>,
): Promise<T> {
  const fd = openSync(input, 'r');
  try {
    const source = { fd, offset: 0, sizeBytes: fstatSync(fd).size, name: 'the build context' };
    const tree = await openTar(root, source);
    if (tree === undefined) {
      const dockerfile = parseDockerfile(readFileSync(input, 'utf8'), 'Dockerfile');
      const view = await emptyView();
      return await use({ dockerfile, directory: undefined, view: async () => view });
    }
    try {
      return await use(tarContext(tree.view, file));
    } finally {
      tree.close();
    }
  } finally {
    closeSync(fd);
  }
}

function tarContext(view: ImageView, file: string | undefined): BuildContext {
  const name = file ?? 'Dockerfile';
  const text = readText(view, name);
  if (text === undefined)
    throw new LaminaError('ENOENT', `failed to read dockerfile: open ${name}: no such file or directory`, {
      path: name,
      hint: 'Name one that the context holds with -f.',
    });
  const ignored = readText(view, `${name}.dockerignore`) ?? readText(view, '.dockerignore');
  const shown = ignored === undefined ? view : filteredView(view, ignoreMatcher(parseIgnoreFile(ignored)));
  return {
    dockerfile: parseDockerfile(text, path.basename(name)),
    directory: undefined,
    view: async () => shown,
  };
}

function readText(view: ImageView, file: string): string | undefined {
  try {
    const ino = view.resolve(utf8ToBytes(path.posix.join('/', file)));
    return view.toc.inode(ino).type === 'file'
      ? Buffer.concat([...view.chunks(ino)]).toString('utf8')
      : undefined;
  } catch (error) {
    if (error instanceof LaminaError && error.code !== 'EIO') return undefined;
    throw error;
  }
}
