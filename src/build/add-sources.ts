/** What ADD takes besides files of the context: URLs, clones of git repositories, and tars that it unpacks. */
import { execFile } from 'node:child_process';
import { createHash } from 'node:crypto';
import { closeSync, existsSync, fstatSync, mkdtempSync, openSync, readFileSync } from 'node:fs';
import { rm } from 'node:fs/promises';
import path from 'node:path';
import { promisify } from 'node:util';
import { LaminaError } from '../errors.js';
import { withDownload } from '../image/import-image.js';
import { defaultMaxInflated } from '../image/open.js';
import { detectCompression } from '../layer/compression.js';
import { indexLayer } from '../layer/index-layer.js';
import { encodeToc } from '../merge/encode.js';
import { mergeLayers } from '../merge/merge.js';
import { TocReader } from '../merge/toc-reader.js';
import { ImageView } from '../merge/view.js';
import { hashBytes } from '../oci/digest.js';
import { temporaryName } from '../store/files.js';
import { inflate } from '../store/inflate.js';
import { scanTar } from '../tar/scan.js';
import type { ByteSource } from '../tar/source.js';

const run = promisify(execFile);

/** A source that was opened for a build; `close` when nothing reads it any more. */
export interface OpenedTree {
  view: ImageView;
  close(): void;
}

export function isUrl(text: string): boolean {
  return /^https?:\/\//.test(text);
}

/** As docker tells a repository from a file: `git://`, `git@HOST:`, `github.com/`, and http with `.git` at its end. */
export function isGit(text: string): boolean {
  return (
    /^(git:\/\/|ssh:\/\/|git@[^/]+:|github\.com\/)/.test(text) ||
    /^(https?|file):\/\/[^#]*\.git(#.*)?$/.test(text)
  );
}

/** Raises EIO for a download that fails, EDIGEST. */
export async function download(
  root: string,
  url: string,
  checksum: string | undefined,
): Promise<{ name: string; bytes: Buffer; mtimeSec: number | undefined }> {
  let mtimeSec: number | undefined;
  const bytes = await withDownload(
    root,
    url,
    async (file) => readFileSync(file),
    () => {},
    (response) => {
      const modified = Date.parse(response.headers.get('last-modified') ?? '');
      if (!Number.isNaN(modified)) mtimeSec = modified / 1000;
    },
  );
  if (checksum !== undefined) {
    const [algorithm = 'sha256'] = checksum.split(':');
    const found = `${algorithm}:${createHash(algorithm).update(bytes).digest('hex')}`;
    if (found !== checksum)
      throw new LaminaError('EDIGEST', `${url}: its digest is ${found}, promised was ${checksum}`, {
        digest: checksum,
      });
  }
  const name = decodeURIComponent(path.posix.basename(new URL(url).pathname));
  return { name: name === '' || name === '/' ? 'index.html' : name, bytes, mtimeSec };
}

export interface Clone {
  directory: string;
  close(): Promise<void>;
}

/** `URL[#REF[:SUBDIRECTORY]]`. Raises EBUILD that says what git says. */
export async function cloneGit(root: string, text: string): Promise<Clone> {
  const [address = '', fragment = ''] = text.split('#');
  const [reference = '', subdirectory = ''] = fragment.split(/:(.*)/s);
  const url = address.startsWith('github.com/') ? `https://${address}` : address;
  const base = mkdtempSync(path.join(root, 'tmp', `${temporaryName()}-`));
  const close = (): Promise<void> => rm(base, { recursive: true, force: true });
  const git = async (...args: string[]): Promise<string> => {
    const env = { ...process.env, GIT_TERMINAL_PROMPT: '0' };
    return (await run('git', args, { cwd: base, env })).stdout;
  };
  try {
    await git('init', '--quiet', '.');
    await git('remote', 'add', 'origin', url);
    await git('fetch', '--quiet', '--depth=1', 'origin', reference === '' ? 'HEAD' : reference).catch(() =>
      // A commit by its digest, which not every server gives alone.
      git('fetch', '--quiet', 'origin'),
    );
    const target = reference === '' ? 'FETCH_HEAD' : await commitOf(git, reference);
    await git('checkout', '--quiet', '--detach', target);
    await git('submodule', 'update', '--init', '--recursive', '--quiet', '--depth=1');
    const directory = path.join(base, path.posix.join('/', subdirectory));
    if (!existsSync(directory))
      throw new LaminaError('EBUILD', `${text}: there is no directory ${subdirectory}`);
    return { directory, close };
  } catch (error) {
    await close();
    if (error instanceof LaminaError) throw error;
    const said = `${(error as { stderr?: string }).stderr ?? ''}`.trim() || (error as Error).message;
    throw new LaminaError('EBUILD', `cannot clone ${url}: ${said}`, {
      cause: error,
      hint: 'Check the address and the reference.',
    });
  }
}

async function commitOf(git: (...args: string[]) => Promise<string>, reference: string): Promise<string> {
  for (const name of [`origin/${reference}`, reference])
    if (await git('rev-parse', '--quiet', '--verify', `${name}^{commit}`).catch(() => '')) return name;
  return 'FETCH_HEAD';
}

/** The tree that a tar holds, plain or compressed; undefined when the file is none, as ADD asks. Raises as the layers of images do. */
export async function openTar(root: string, source: ByteSource): Promise<OpenedTree | undefined> {
  const compression = detectCompression(source);
  if (compression === 'none') {
    if (!beginsAsTar(source)) return undefined;
    const view = await viewTar(source);
    return { view, close: () => {} };
  }
  const target = path.join(root, 'tmp', temporaryName());
  let fd: number | undefined;
  try {
    await inflate(
      {
        blob: source,
        compression,
        digest: undefined,
        diffId: undefined,
        maxBytes: defaultMaxInflated(),
        target,
      },
      () => {},
    );
    fd = openSync(target, 'r');
    const plain = { fd, offset: 0, sizeBytes: fstatSync(fd).size, name: source.name };
    if (beginsAsTar(plain)) {
      const [view, opened] = [await viewTar(plain), fd];
      return { view, close: () => closeSync(opened) };
    }
  } catch (error) {
    if (fd !== undefined) closeSync(fd);
    // What only begins as something compressed is a file like any other.
    if (error instanceof LaminaError && error.code === 'EBADTAR' && fd === undefined) return undefined;
    throw error;
  } finally {
    // Read by its descriptor from now on.
    await rm(target, { force: true });
  }
  closeSync(fd);
  return undefined;
}

export async function viewTar(source: ByteSource): Promise<ImageView> {
  const layer = { diffId: hashBytes('sha256', Buffer.from(source.name)), sizeBytes: source.sizeBytes };
  const toc = await encodeToc(mergeLayers([indexLayer(source, layer, 0)]));
  return new ImageView(new TocReader(toc, source.name), [source]);
}

/** Its first entry can be read; an archive without any is none. */
function beginsAsTar(source: ByteSource): boolean {
  try {
    return scanTar(source).next().done !== true;
  } catch (error) {
    if (error instanceof LaminaError) return false;
    throw error;
  }
}
