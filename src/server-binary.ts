/** Finds the native server: LAMINA_FUSE, or the file that the package carries or that `npm run build:native` made. */
import { accessSync, constants } from 'node:fs';
import { LaminaError } from './errors.js';
import { packageFile } from './package-files.js';

/** Absolute path of `lamina-fuse`. Raises ENOSERVER that says where it was looked for and how to build one. */
export function serverBinary(): string {
  const place = `prebuilds/${process.platform}-${process.arch}/lamina-fuse`;
  const file = process.env.LAMINA_FUSE || packageFile(place);
  try {
    accessSync(file, constants.X_OK);
    return file;
  } catch (cause) {
    throw new LaminaError('ENOSERVER', `the native server is missing: ${file}`, {
      path: file,
      cause,
      hint:
        process.platform === 'linux'
          ? 'Build it in a clone of the repository with: npm run build:native (needs g++ and make), or use --driver fuse-native.'
          : `There is no native server for ${process.platform}; use --driver fuse-native.`,
    });
  }
}
