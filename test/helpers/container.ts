/**
 * A container of a stack of layers whose own layer is written by kernel overlayfs: the independent side for all that reads an upper
 * directory. Needs root.
 */
import { execFile } from 'node:child_process';
import { mkdirSync } from 'node:fs';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { laminaOk } from './lamina.js';
import type { Scratch } from './overlay.js';
import { ociLayout } from './stack.js';
import type { Stack } from './stack.js';
import { unpackFlat } from './unpack.js';

const run = promisify(execFile);

export interface KernelContainer {
  id: string;
  name: string;
  /** LAMINA_ROOT. */
  root: string;
  /** The OCI layout of the image. */
  layout: string;
  /** The image, unpacked. */
  lower: string;
  upper: string;
  /** Where the kernel shows both. */
  merged: string;
  /** A place for the test's own files on the same filesystem. */
  base: string;
  /** Mounts it by the kernel again. */
  mount(): Promise<void>;
  unmount(): Promise<void>;
}

let count = 0;

/**
 * Creates the container by the built command and mounts its directories by the kernel.
 * @param unpacked the image, unpacked; it is unpacked here when undefined
 */
export async function kernelContainer(
  scratch: Scratch,
  stack: Stack,
  unpacked?: string,
): Promise<KernelContainer> {
  const base = scratch.directory('container');
  const at = (name: string): string => join(base, name);
  const [root, layout, lower, merged] = [at('root'), at('image'), unpacked ?? at('lower'), at('merged')];
  ociLayout(stack, layout);
  if (unpacked === undefined) await unpackFlat(stack, lower);
  const name = `kernel${count++}`;
  const id = (await laminaOk(['create', '--name', name, `oci:${layout}`], root)).trim();
  const container = join(root, 'containers', id);
  mkdirSync(merged);
  const upper = join(container, 'upper');
  const options = [
    'redirect_dir=on,metacopy=on,index=off',
    `lowerdir=${lower},upperdir=${upper},workdir=${join(container, 'work')}`,
  ];
  const mount = async (): Promise<void> =>
    void (await run('mount', ['-t', 'overlay', '-o', options.join(','), 'overlay', merged]));
  await mount();
  return {
    id,
    name,
    root,
    layout,
    lower,
    upper,
    merged,
    base,
    mount,
    unmount: async () => void (await run('umount', [merged])),
  };
}

/** A layout's image as umoci unpacks it in `directory`, which must not exist; -> the root filesystem. */
export async function umociUnpack(layout: string, reference: string, directory: string): Promise<string> {
  await run('umoci', ['unpack', '--image', `${layout}:${reference}`, directory]);
  return join(directory, 'rootfs');
}
