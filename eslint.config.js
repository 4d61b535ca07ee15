import tseslint from 'typescript-eslint';

export default tseslint.config(
  { ignores: ['dist/**', 'prebuilds/**', 'native/build/**', 'test/fixtures/**'] },
  ...tseslint.configs.recommended,
  {
    rules: {
      '@typescript-eslint/no-unused-vars': ['error', { argsIgnorePattern: '^_', varsIgnorePattern: '^_' }],
      'no-console': 'error',
      eqeqeq: 'error',
    },
  },
  // It is bundled as CommonJS, and loads a file that is made by the build.
  { files: ['src/cli/start.ts'], rules: { '@typescript-eslint/no-require-imports': 'off' } },
  { files: ['build.js', 'native/*.js', 'bench/**'], rules: { 'no-console': 'off' } },
);
