/**
 * src/ -> dist/: bundled, because a command that loads sixty modules starts twice as slowly as one that loads three.
 * The declarations come from tsc.
 */
import { execFileSync } from 'node:child_process';
import { chmodSync, copyFileSync, mkdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
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
  // The first two hold native addons and find them by their own paths. yaml is large, and read by one flag of one command only.
  external: ['fuse-native', 'fs-xattr', 'yaml'],
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
  minifyIdentifiers: true,
  ...options,
  format: 'cjs',
  define: { 'import.meta.url': 'laminaUrl' },
  banner: { js: "const laminaUrl = require('node:url').pathToFileURL(__filename).href;" },
};
// What talks to registries is as large as all the rest: a file of its own.
const apart = {
  name: 'undici-apart',
  setup(/** @type {import('esbuild').PluginBuild} */ { onResolve }) {
    onResolve({ filter: /\/undici\.js$/ }, () => ({ path: '../registry/undici.js', external: true }));
  },
};
await build({
  ...commonjs,
  plugins: [apart],
  entryPoints: [{ in: 'src/cli/main.ts', out: 'cli/lamina' }],
  outExtension: { '.js': '.cjs' },
});
// src/cli/start.ts says why.
const program = readFileSync('dist/cli/lamina.cjs', 'utf8');
writeFileSync('dist/cli/lamina.cjs', program.replaceAll(/(?<![\w$.])import\(/g, 'laminaImport('));
await build({
  ...commonjs,
  define: {},
  banner: { js: '#!/usr/bin/env node' },
  entryPoints: [{ in: 'src/cli/start.ts', out: 'cli/main' }],
});
writeFileSync('dist/cli/package.json', '{ "type": "commonjs" }\n');
await build({ ...options, entryPoints: ['src/registry/undici.ts'] });
// What a program, or another part of Lamina, starts or imports by its path.
await build({
  ...options,
  entryPoints: [
    'src/index.ts',
    'src/mount/verifier-main.ts',
    'src/runtime/finish-main.ts',
    'src/mount/drivers/fuse-native-server.ts',
    'src/bench/library-main.ts',
    'src/image/lazy/fetcher-main.ts',
    'src/registry/lazy/checkpoint-worker.ts',
  ],
  splitting: true,
  chunkNames: 'chunks/[name]-[hash]',
});
chmodSync('dist/cli/main.js', 0o755);

// SQLite for rpm's database: two files of sql.js, whose package would be 30 MB for those who install this one.
mkdirSync('dist/sqlite');
for (const [from, to] of [
  ['dist/sql-wasm.js', 'sql-wasm.cjs'],
  ['dist/sql-wasm.wasm', 'sql-wasm.wasm'],
  ['LICENSE', 'LICENSE'],
]) {
  copyFileSync(`node_modules/sql.js/${from}`, `dist/sqlite/${to}`);
}

execFileSync(process.execPath, ['warm-up.js'], { stdio: 'inherit' });
