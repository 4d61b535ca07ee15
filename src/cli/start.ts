/**
 * What `lamina` is run by (dist/cli/main.js): loads the program, lamina.cjs beside it, with the code that V8 compiled of it before, which
 * halves what starting costs. The build leaves that code for the version of V8 it ran on; for another, the first run does, where it may write.
 * It lies beside the program and is trusted as the program is.
 */
import { readFileSync, renameSync, writeFileSync } from 'node:fs';
import { Script } from 'node:vm';

/** What lamina.cjs exports. */
export interface Program {
  main(argv: readonly string[]): Promise<void>;
}

const FILE = `${__dirname}/lamina.cjs`;
const CACHE = `${__dirname}/lamina-${process.versions.v8}-${process.arch}.cache`;

export function load(): { program: Program; script: Script } {
  const cachedData = readCache();
  // The bundler writes ASCII only.
  const text = `(function(exports,require,laminaImport,module,__filename,__dirname){${readFileSync(FILE, 'latin1')}\n})`;
  const script = new Script(text, {
    filename: FILE,
    ...(cachedData === undefined ? {} : { cachedData }),
  });
  const module = { exports: {} };
  const run = script.runInThisContext() as (...args: unknown[]) => void;
  run(module.exports, requireLazily, importHere, module, FILE, __dirname);
  if (cachedData === undefined) process.once('exit', () => writeCache(script));
  return { program: module.exports as Program, script };
}

/** A script that comes from kept code cannot import: V8 forgets who asks. The build puts this in the place of its `import()`. */
const importHere = (name: string): Promise<unknown> => import(name);

/** Modules of Node that take a millisecond and more to load, and that most commands do without. */
const COSTLY = new Set([
  'node:child_process',
  'node:crypto',
  'node:http',
  'node:https',
  'node:net',
  'node:stream',
  'node:stream/promises',
  'node:stream/web',
  'node:worker_threads',
  'node:zlib',
]);

const requireLazily = Object.assign(
  (name: string): unknown => (COSTLY.has(name) ? whenUsed(name) : require(name)),
  require,
);

/** The module, loaded when something of it is asked for. */
function whenUsed(name: string): object {
  let loaded: Record<string | symbol, unknown> | undefined;
  const module = (): Record<string | symbol, unknown> =>
    (loaded ??= require(name) as Record<string | symbol, unknown>);
  return new Proxy(
    {},
    {
      get: (_, key) => module()[key],
      has: (_, key) => key in module(),
      ownKeys: () => Reflect.ownKeys(module()),
      getOwnPropertyDescriptor: (_, key) => {
        const found = Reflect.getOwnPropertyDescriptor(module(), key);
        return found === undefined ? undefined : { ...found, configurable: true };
      },
    },
  );
}

function readCache(): Buffer | undefined {
  try {
    return readFileSync(CACHE);
  } catch {
    return undefined;
  }
}

/** A reader must never see half of it: V8 does not notice. */
export function writeCache(script: Script): void {
  try {
    const temporary = `${CACHE}.${process.pid}`;
    writeFileSync(temporary, script.createCachedData());
    renameSync(temporary, CACHE);
  } catch {
    // Not ours to write to; it works without.
  }
}

if (require.main === module) void load().program.main(process.argv.slice(2));
