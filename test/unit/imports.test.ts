/**
 * Imports go one way only, so that each part can be understood without those that use it. The order is ARCHITECTURE.md's;
 * imports are read from the source text.
 */
import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { dirname, join, normalize } from 'node:path';
import { fileURLToPath } from 'node:url';
import { describe, expect, test } from 'vitest';

const ROOT = fileURLToPath(new URL('../..', import.meta.url));

/** Each part may import itself and those before it. Parts in one group do not know each other. */
const TYPESCRIPT_ORDER = [
  ['errors.ts'],
  ['bytes.ts', 'package-files.ts'],
  ['server-binary.ts'],
  ['tar'],
  ['oci'],
  ['layer'],
  ['archive'],
  ['merge'],
  ['store'],
  ['registry', 'mount'],
  ['image'],
  ['container'],
  ['runtime'],
  ['build'],
  ['system'],
  ['bench'],
  ['index.ts'],
  ['cli'],
];
const NATIVE_ORDER = [
  ['sys'],
  ['fuse', 'toc', 'scan', 'load', 'monitor'],
  ['erofs'],
  ['overlay'],
  ['options'],
  ['session', 'hold_socket'],
  ['supervisor'],
  ['kernel_union'],
  ['stack_options'],
  ['stack'],
  ['main'],
];

interface Import {
  file: string;
  from: string;
  to: string;
}

function files(directory: string, pattern: RegExp): string[] {
  return readdirSync(join(ROOT, directory), { recursive: true, encoding: 'utf8' })
    .filter((name) => pattern.test(name))
    .map((name) => join(directory, name))
    .sort();
}

/** Relative imports, static and dynamic, as files below the root. */
function typescriptImports(file: string): string[] {
  return importsIn(file, readFileSync(join(ROOT, file), 'utf8'));
}

/** Those of values: imports of types alone are gone when the program runs. */
function valueImports(file: string): string[] {
  const text = readFileSync(join(ROOT, file), 'utf8');
  return importsIn(file, text.replaceAll(/^(import|export) type [^;]*;/gm, ''));
}

function importsIn(file: string, text: string): string[] {
  const found = text.matchAll(/(?:\bfrom\s*|\bimport\s*\(\s*|^import\s*)['"](\.{1,2}\/[^'"]+)['"]/gm);
  return [...found].map(([, path]) => normalize(join(dirname(file), path!)).replace(/\.js$/, '.ts'));
}

/** Quoted includes, which are beside the file or below native/. */
function nativeImports(file: string): string[] {
  const text = readFileSync(join(ROOT, file), 'utf8');
  return [...text.matchAll(/^\s*#\s*include\s*"([^"]+)"/gm)].map(([, path]) => {
    const beside = normalize(join(dirname(file), path!));
    return existsSync(join(ROOT, beside)) ? beside : join('native', path!);
  });
}

/** src/tar/scan.ts -> tar; native/main.cc -> main */
function partOf(file: string): string {
  const [top, part = ''] = file.split('/');
  return top === 'native' ? part.replace(/\.\w+$/, '') : part;
}

function wrongWay(imports: readonly Import[], order: readonly (readonly string[])[]): string[] {
  const rank = new Map(order.flatMap((group, index) => group.map((part) => [part, index] as const)));
  return imports
    .filter(({ from, to }) => {
      const [importer, imported] = [rank.get(from), rank.get(to)];
      if (importer === undefined || imported === undefined) return true;
      return from !== to && imported >= importer;
    })
    .map(({ file, from, to }) => `${file}: ${from} imports ${to}`);
}

function importsOf(names: readonly string[], read: (file: string) => string[]): Import[] {
  return names.flatMap((file) => read(file).map((to) => ({ file, from: partOf(file), to: partOf(to) })));
}

describe('imports', () => {
  const sources = files('src', /\.ts$/);

  test('of src go one way', () => {
    const imports = importsOf(sources, typescriptImports);
    expect(imports.length).toBeGreaterThan(20);
    expect(wrongWay(imports, TYPESCRIPT_ORDER)).toEqual([]);
  });

  test('of src lead to files that are there', () => {
    const missing = sources.flatMap((file) =>
      typescriptImports(file)
        .filter((to) => !existsSync(join(ROOT, to)))
        .map((to) => `${file}: ${to}`),
    );
    expect(missing).toEqual([]);
  });

  test('no two files of src import each other in a circle', () => {
    const values = new Map(sources.map((file) => [file, valueImports(file)]));
    expect(circle(values)).toBeUndefined();
  });

  test('of native go one way', () => {
    const native = files('native', /\.(cc|h)$/).filter((file) => !/^native\/(build|testing)\//.test(file));
    const imports = importsOf(native, nativeImports);
    expect(imports.length).toBeGreaterThan(5);
    expect(wrongWay(imports, NATIVE_ORDER)).toEqual([]);
  });

  test('only the whiteout file knows the whiteout prefix', () => {
    const knowing = sources.filter((file) => /['"`]\.wh\./.test(readFileSync(join(ROOT, file), 'utf8')));
    expect(knowing).toEqual(['src/layer/whiteout.ts']);
  });

  test('a wrong direction is noticed', () => {
    const wrong = { file: 'src/tar/scan.ts', from: 'tar', to: 'merge' };
    expect(wrongWay([wrong], TYPESCRIPT_ORDER)).toEqual(['src/tar/scan.ts: tar imports merge']);
    expect(circle(new Map(Object.entries({ a: ['b'], b: ['c'], c: ['a'] })))).toEqual(['a', 'b', 'c', 'a']);
  });
});

/** One circle of imports, undefined when there is none. */
function circle(imports: ReadonlyMap<string, readonly string[]>): string[] | undefined {
  const done = new Set<string>();
  const visit = (file: string, path: readonly string[]): string[] | undefined => {
    if (path.includes(file)) return [...path.slice(path.indexOf(file)), file];
    if (done.has(file)) return undefined;
    for (const next of imports.get(file) ?? []) {
      const found = visit(next, [...path, file]);
      if (found !== undefined) return found;
    }
    done.add(file);
    return undefined;
  };
  for (const file of imports.keys()) {
    const found = visit(file, []);
    if (found !== undefined) return found;
  }
  return undefined;
}
