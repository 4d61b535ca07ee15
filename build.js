/**
 * src/ -> dist/: bundled, because a command that loads sixty modules starts twice as slowly as one that loads three.
 * The declarations come from tsc.
 */
import { execFileSync } from 'node:child_process';
import { chmodSync, rmSync, writeFileSync } from 'node:fs';
import { build } from 'esbuild';

rmSync('dist', { recursive: true, force: true });
/** @type {import('esbuild').BuildOptions} */
const options = {
  outdir: 'dist',
  outbase: 'src',
  bundle: true,
  format: 'esm',
  platform: 'node',
  target: 'node20',
  // They hold native addons and find them by their own paths.
  external: ['fuse-native', 'fs-xattr'],
  // CommonJS dependencies ask for Node's modules by require.
  banner: {
    js: "import { createRequire as laminaRequire } from 'node:module'; const require = laminaRequire(import.meta.url);",
  },
  minifyWhitespace: true,
  minifySyntax: true,
  logLevel: 'warning',
};

// The command is one file, whose parts run only when they are asked for: twenty small files took 25 ms to load. CommonJS, because
// an ES module loads all of Node's modules that any part asks for (10 ms), and its compiled code cannot be kept.
const commonjs = {
  ...options,
  format: 'cjs',
  define: { 'import.meta.url': 'laminaUrl' },
  banner: { js: "const laminaUrl = require('node:url').pathToFileURL(__filename).href;" },
};
await build({
  ...commonjs,
  entryPoints: [{ in: 'src/cli/main.ts', out: 'cli/lamina' }],
  outExtension: { '.js': '.cjs' },
});
await build({
  ...commonjs,
  define: {},
  banner: { js: '#!/usr/bin/env node' },
  entryPoints: [{ in: 'src/cli/start.ts', out: 'cli/main' }],
});
writeFileSync('dist/cli/package.json', '{ "type": "commonjs" }\n');
// What a program, or another part of Lamina, starts or imports by its path.
await build({
  ...options,
  entryPoints: ['src/index.ts', 'src/mount/verifier-main.ts', 'src/mount/drivers/fuse-native-server.ts'],
  splitting: true,
  chunkNames: 'chunks/[name]-[hash]',
});
chmodSync('dist/cli/main.js', 0o755);
execFileSync(process.execPath, ['warm-up.js'], { stdio: 'inherit' });
