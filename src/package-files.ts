/** Where the package's own files lie, wherever the code that asks was bundled to. */
import { existsSync } from 'node:fs';
import path from 'node:path';
import { fileURLToPath } from 'node:url';

let root: string | undefined;

/** Absolute path of a file of the package: `prebuilds/...`, `dist/...`, `package.json`. */
export function packageFile(name: string): string {
  if (root === undefined) {
    root = path.dirname(fileURLToPath(import.meta.url));
    // dist/cli has a package.json of its own, which makes it CommonJS.
    while (!existsSync(path.join(root, 'package.json')) || path.basename(root) === 'cli')
      root = path.dirname(root);
  }
  return path.join(root, name);
}
