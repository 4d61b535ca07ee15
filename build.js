/**
 * src/ -> dist/: bundled, because a command that loads sixty modules starts twice as slowly as one that loads three.
 * The declarations come from tsc.
 */
import { chmodSync, rmSync } from 'node:fs';
import { build } from 'esbuild';

rmSync('dist', { recursive: true, force: true });
await build({
  // What a user, a program, or another part of Lamina starts or imports by its path.
  entryPoints: [
    'src/index.ts',
    'src/cli/main.ts',
    'src/mount/verifier-main.ts',
    'src/mount/drivers/fuse-native-server.ts',
  ],
  outdir: 'dist',
  outbase: 'src',
  bundle: true,
  splitting: true,
  format: 'esm',
  platform: 'node',
  target: 'node20',
  // Holds a native addon and finds it by its own path.
  external: ['fuse-native'],
  // CommonJS dependencies ask for Node's modules by require.
  banner: {
    js: "import { createRequire as laminaRequire } from 'node:module'; const require = laminaRequire(import.meta.url);",
  },
  minifyWhitespace: true,
  minifySyntax: true,
  chunkNames: 'chunks/[name]-[hash]',
  logLevel: 'warning',
});
chmodSync('dist/cli/main.js', 0o755);
