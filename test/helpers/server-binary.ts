/** The native server that the tests run: the one that is built here, or the one that LAMINA_FUSE names. */
import { existsSync } from 'node:fs';
import { fileURLToPath } from 'node:url';

export const SERVER =
  process.env['LAMINA_FUSE'] ??
  fileURLToPath(new URL(`../../prebuilds/${process.platform}-${process.arch}/lamina-fuse`, import.meta.url));

export function isServerBuilt(): boolean {
  return existsSync(SERVER);
}
