import { defineConfig } from 'vitest/config';

// One file at a time: the suites mount filesystems and the machine may have two cores; a test that
// competes with a neighbour for them is a test that fails now and then.
export default defineConfig({
  test: {
    include: ['test/**/*.test.ts'],
    fileParallelism: false,
    testTimeout: 60_000,
    hookTimeout: 120_000,
  },
});
