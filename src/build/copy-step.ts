/** COPY and ADD: what their flags and words mean, and the layer that comes of it. */
import { posix } from 'node:path';
import { splitWords } from '../image/expand.js';
import { InstructionError, jsonWords } from '../image/instruction.js';
import type { ImageView } from '../merge/view.js';
import { cloneGit, download, isGit, isUrl, openTar } from './add-sources.js';
import { parseChmod } from './chmod.js';
import { planCopy } from './copy.js';
import type { CopyOptions, CopySource } from './copy.js';
import { viewDirectory } from './directory-tree.js';
import { heredocStart } from './dockerfile.js';
import type { DockerfileInstruction } from './dockerfile.js';
import { filteredView } from './filtered-tree.js';
import { writeLayerFile } from './layer-file.js';
import { LayerPlan } from './layer-plan.js';
import { ownerOf } from './owner.js';
import { matchSource } from './source-glob.js';
import type { LayerStep, StageBuilder } from './stage-builder.js';
import { configOf } from './state.js';

interface CopyFlags {
  from?: string;
  chown?: string;
  chmod?: string;
  link: boolean;
  parents: boolean;
  excludes: string[];
  /** ADD */
  checksum?: string;
  keepGit: boolean;
  unpack?: boolean;
}

export async function copyStep(
  builder: StageBuilder,
  instruction: DockerfileInstruction,
): Promise<LayerStep> {
  const { session, state } = builder;
  const flags = flagsOf(builder, instruction);
  const words = wordsOf(builder, instruction);
  const destination = words.at(-1)!;
  const base = await session.view(state);
  const sources = await openSources(builder, instruction, words.slice(0, -1), flags);
  const plan = new LayerPlan(flags.link ? undefined : base);
  const options: CopyOptions = {
    timeSec: session.nowSec,
    parents: flags.parents,
    excludes: flags.excludes,
    ...(flags.chown === undefined ? {} : { owner: ownerOf(base, flags.chown) }),
    ...(flags.chmod === undefined ? {} : { chmod: parseChmod(flags.chmod) }),
  };
  planCopy(plan, sources, absolute(destination, configOf(state)['WorkingDir']), options);
  return {
    key: ['COPY', await plan.digest()],
    createdBy: `${[instruction.name, ...shownFlags(flags), ...words].join(' ')} # buildkit`,
    make: async () =>
      plan.isEmpty
        ? undefined
        : writeLayerFile(session.cache.root, (sink) => plan.write(sink, session.options.epochSec)),
  };
}

/** A destination that is a directory keeps the slash that says so. */
function absolute(destination: string, workdir: unknown): string {
  const from = typeof workdir === 'string' && workdir !== '' ? workdir : '/';
  const isDirectory = /(^|\/)\.{0,2}$/.test(destination);
  const resolved = posix.resolve('/', from, destination);
  return isDirectory && resolved !== '/' ? `${resolved}/` : resolved;
}

function flagsOf(builder: StageBuilder, instruction: DockerfileInstruction): CopyFlags {
  const flags: CopyFlags = { link: false, parents: false, excludes: [], keepGit: false };
  const isAdd = instruction.name === 'ADD';
  const isTrue = (value: string | undefined): boolean => value === undefined || /^(true|1)$/i.test(value);
  for (const { name, value } of instruction.flags) {
    const text = builder.expand(value ?? '', instruction);
    if (name === 'from' && !isAdd) {
      if (value?.includes('$') === true)
        throw new InstructionError(
          instruction,
          'variable expansion is not supported for --from, define a new stage with FROM using ARG from global scope as a workaround',
        );
      flags.from = text;
    } else if (name === 'chown') flags.chown = text;
    else if (name === 'chmod') flags.chmod = text;
    else if (name === 'link') flags.link = isTrue(value);
    else if (name === 'parents' && !isAdd) flags.parents = isTrue(value);
    else if (name === 'exclude') flags.excludes.push(text);
    else if (name === 'checksum' && isAdd) flags.checksum = text;
    else if (name === 'keep-git-dir' && isAdd) flags.keepGit = isTrue(value);
    else if (name === 'unpack' && isAdd) flags.unpack = isTrue(value);
    else throw new InstructionError(instruction, `unknown flag: --${name}`);
  }
  return flags;
}

function shownFlags({ from, chown, chmod, link, parents, excludes }: CopyFlags): string[] {
  return [
    ...(from === undefined ? [] : [`--from=${from}`]),
    ...(parents ? ['--parents'] : []),
    ...(chown === undefined ? [] : [`--chown=${chown}`]),
    ...(chmod === undefined ? [] : [`--chmod=${chmod}`]),
    ...(link ? ['--link'] : []),
    ...excludes.map((pattern) => `--exclude=${pattern}`),
  ];
}

function wordsOf(builder: StageBuilder, instruction: DockerfileInstruction): string[] {
  const { rest, name } = instruction;
  const written = jsonWords(rest) ?? splitWords(rest, builder.escape);
  const words = written.map((word) =>
    heredocStart(word) === undefined ? builder.expand(word, instruction) : word,
  );
  if (words.length < 2)
    throw new InstructionError(
      instruction,
      `${name} requires at least two arguments, but only ${words.length} ${words.length === 1 ? 'was' : 'were'} provided. Destination could not be determined`,
    );
  if (words.length > 2 && !/(^|\/)\.{0,2}$/.test(words.at(-1)!))
    throw new InstructionError(
      instruction,
      `When using ${name} with more than one source file, the destination must be a directory and end with a /`,
    );
  return words;
}

async function openSources(
  builder: StageBuilder,
  instruction: DockerfileInstruction,
  words: readonly string[],
  flags: CopyFlags,
): Promise<CopySource[]> {
  const { session } = builder;
  const heredocs = [...instruction.heredocs];
  const sources: CopySource[] = [];
  for (const word of words) {
    if (heredocStart(word) !== undefined) {
      const { name, content, isExpanded } = heredocs.shift()!;
      const text = isExpanded ? expandedDocument(builder, instruction, content) : content;
      sources.push({ kind: 'file', name, bytes: Buffer.from(text), mode: 0o644 });
    } else if (instruction.name === 'ADD' && isGit(word)) {
      const clone = await cloneGit(session.cache.root, word);
      const tree = await viewDirectory(clone.directory);
      session.onClose(() => void clone.close());
      session.onClose(() => tree.close());
      const isHidden = (path: string): boolean => !flags.keepGit && /(^|\/)\.git(\/|$)/.test(path);
      sources.push({ kind: 'unpacked', view: filteredView(tree.view, isHidden) });
    } else if (instruction.name === 'ADD' && isUrl(word)) {
      const { name, bytes, mtimeSec = 0 } = await download(session.cache.root, word, flags.checksum);
      sources.push({ kind: 'file', name, bytes, mode: 0o600, mtimeSec });
    } else {
      const view =
        flags.from === undefined
          ? await session.context.view()
          : await session.view(await builder.sources.state(flags.from));
      if (instruction.name === 'ADD' && flags.unpack !== false)
        sources.push(...(await unpacked(builder, view, word)));
      else sources.push({ kind: 'tree', view, pattern: word });
    }
  }
  return sources;
}

/** Of what a pattern means, tars are unpacked and the rest is copied. */
async function unpacked(builder: StageBuilder, view: ImageView, pattern: string): Promise<CopySource[]> {
  const { session } = builder;
  const sources: CopySource[] = [];
  const matches = matchSource(view, pattern);
  for (const { path, ino } of matches) {
    const tar =
      view.toc.inode(ino).type === 'file' ? await openInner(session.cache.root, view, ino) : undefined;
    if (tar === undefined) sources.push({ kind: 'tree', view, pattern: literal(path) });
    else {
      session.onClose(tar.close);
      sources.push({ kind: 'unpacked', view: tar.view });
    }
  }
  return matches.length === 0 ? [{ kind: 'tree', view, pattern }] : sources;
}

/** A file of a view lies in one run of a file, but for sparse ones, which are no archives to us. */
async function openInner(root: string, view: ImageView, ino: number): ReturnType<typeof openTar> {
  const [extent, ...others] = view.extents(ino);
  const source = extent === undefined ? undefined : view.sources[extent.source];
  if (extent === undefined || others.length > 0 || source === undefined) return undefined;
  return openTar(root, {
    // Files of a directory are opened when they are read, and may be closed in between.
    get fd() {
      return source.fd;
    },
    offset: source.offset + extent.offset,
    sizeBytes: extent.length,
    name: source.name,
  });
}

/** A name that no pattern is made of. */
function literal(path: string): string {
  return Buffer.from(path, 'latin1')
    .toString('utf8')
    .replace(/[*?[\\]/g, '\\$&');
}

/** Quotes in a here-document are no quotes; a backslash protects a dollar sign and itself, as in the shell. */
function expandedDocument(
  builder: StageBuilder,
  instruction: DockerfileInstruction,
  content: string,
): string {
  const guarded = content.replace(/(\\*)"/g, (_, before: string) => `${before}${before}\\"`);
  return builder.expand(`"${guarded}"`, instruction, '\\');
}
