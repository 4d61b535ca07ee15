/**
 * A real build against buildah: node bench/build.js [ROUNDS]. Debian by debootstrap, apt-get install of a compiler from the mirror, a tree of
 * 10,000 files copied, a small program compiled in one stage and copied into another; then one source file is changed and all is built again.
 * Compiling takes both the same time, and so is kept short: it would only hide what the builders do. buildah has its kernel overlay driver
 * and --layers, and runs commands in a chroot, which costs it less than a runtime would. Rounds are interleaved, each begins without what
 * the one before built; times are medians. Needs root, debootstrap, buildah, crun, network.
 */
import { execFileSync, spawn } from 'node:child_process';
import { existsSync, mkdirSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { median, spread } from './lib/stats.js';

const MAIN = fileURLToPath(new URL('../dist/cli/main.js', import.meta.url));
const MIRROR = 'http://deb.debian.org/debian';
const FILES = 10_000;
const UNITS = 12;
const [rounds = '3'] = process.argv.slice(2);

const work = join(tmpdir(), 'lamina-bench-build');
const at = (...names) => join(work, ...names);
mkdirSync(work, { recursive: true });

const DOCKERFILE = `FROM bench-base AS build
RUN apt-get update -qq && apt-get install -y -qq --no-install-recommends gcc libc6-dev make > /dev/null && rm -rf /var/lib/apt/lists
COPY tree /src
RUN make -s -C /src/program -j2
FROM bench-base
WORKDIR /srv
COPY tree/data /srv/data
COPY --from=build /src/program/program /usr/local/bin/program
RUN program > /srv/says
CMD ["program"]
`;

/** A base image in both stores, made once. */
async function prepare() {
  if (!existsSync(at('base.tar'))) {
    execFileSync('debootstrap', ['--variant=minbase', 'bookworm', at('root'), MIRROR], { stdio: 'ignore' });
    execFileSync('tar', ['--numeric-owner', '--xattrs', '-cf', at('base.tmp'), '-C', at('root'), '.']);
    rmSync(at('root'), { recursive: true });
    execFileSync('mv', [at('base.tmp'), at('base.tar')]);
  }
  for (const name of ['lamina', 'context']) rmSync(at(name), { recursive: true, force: true });
  await lamina('import', at('base.tar'), 'bench-base');
  await lamina('save', '-o', at('image.tar'), 'bench-base');
}

function makeContext() {
  mkdirSync(at('context/tree/program'), { recursive: true });
  writeFileSync(at('context/Dockerfile'), DOCKERFILE);
  for (let index = 0; index < FILES - UNITS - 2; index++) {
    const directory = at(`context/tree/data/d${Math.floor(index / 100)}/s${index % 10}`);
    mkdirSync(directory, { recursive: true });
    writeFileSync(join(directory, `file-${index}.txt`), `line of file ${index}\n`.repeat(1 + (index % 400)));
  }
  const program = at('context/tree/program');
  const units = Array.from({ length: UNITS }, (_, index) => `unit${index}`);
  for (const name of units) writeFileSync(join(program, `${name}.c`), unit(name, 0));
  const calls = units.map((name) => `sum += ${name}(sum);`).join('\n  ');
  const declared = units.map((name) => `int ${name}(int);`).join('\n');
  writeFileSync(
    join(program, 'main.c'),
    `#include <stdio.h>\n${declared}\nint main(void) {\n  int sum = 1;\n  ${calls}\n  printf("%d\\n", sum);\n  return 0;\n}\n`,
  );
  const objects = [...units, 'main'].map((name) => `${name}.o`).join(' ');
  writeFileSync(join(program, 'Makefile'), `CFLAGS = -O2\nprogram: ${objects}\n\t$(CC) -o $@ ${objects}\n`);
}

function unit(name, version) {
  const lines = Array.from(
    { length: 30 },
    (_, index) =>
      `static int f${index}(int x) { for (int i = 0; i < x % ${index + 3}; i++) x += i * ${index}; return x; }`,
  );
  const calls = lines.map((_, index) => `x = f${index}(x);`).join(' ');
  return `#include <stdio.h>\n#include <string.h>\n${lines.join('\n')}\nint ${name}(int x) { ${calls} return x % ${7 + version}; }\n`;
}

/** Seconds; raises when the command fails. */
async function measured(command, args, env = {}) {
  const begun = process.hrtime.bigint();
  const child = spawn(command, args, { env: { ...process.env, ...env }, stdio: ['ignore', 'pipe', 'pipe'] });
  let said = '';
  child.stdout.on('data', (chunk) => (said += chunk));
  child.stderr.on('data', (chunk) => (said += chunk));
  const code = await new Promise((resolve) => child.on('close', resolve));
  if (code !== 0) throw new Error(`${command} ${args.join(' ')}: ${said.slice(-3000)}`);
  return { seconds: Number(process.hrtime.bigint() - begun) / 1e9, said };
}

const lamina = (...args) => measured(process.execPath, [MAIN, ...args], { LAMINA_ROOT: at('lamina') });
const buildah = (...args) =>
  measured('buildah', [
    ...['--storage-driver=overlay', '--root', at('buildah'), '--runroot', at('buildah-run')],
    ...args,
  ]);

const SUBJECTS = {
  lamina: {
    build: () => lamina('build', '-t', 'bench', at('context')),
    begin: async () => {
      rmSync(at('lamina'), { recursive: true, force: true });
      await lamina('import', at('base.tar'), 'bench-base');
    },
  },
  buildah: {
    build: () =>
      buildah(
        ...['build', '--layers', '--isolation=chroot', '--network=host', '--pull=never', '-t', 'bench'],
        at('context'),
      ),
    begin: async () => {
      await buildah('rmi', '-a', '-f');
      const { said } = await buildah('pull', '-q', `docker-archive:${at('image.tar')}`);
      await buildah('tag', said.trim(), 'localhost/bench-base:latest');
    },
  },
};

const results = new Map();
function note(name, { seconds, said }) {
  results.set(name, [...(results.get(name) ?? []), seconds]);
  process.stderr.write(`${name}: ${seconds.toFixed(2)} s\n`);
  if (process.env.BENCH_VERBOSE) process.stderr.write(said.replace(/^#\d+ \d.*\n/gm, ''));
}

await prepare();
for (let round = 0; round < Number(rounds); round++)
  for (const [name, { begin, build }] of Object.entries(SUBJECTS)) {
    makeContext();
    await begin();
    execFileSync('sync');
    note(`first build, ${name}`, await build());
    writeFileSync(at('context/tree/program/unit7.c'), unit('unit7', round + 1));
    execFileSync('sync');
    note(`second build after one changed file, ${name}`, await build());
    note(`third build, nothing changed, ${name}`, await build());
  }
for (const [name, seconds] of results)
  process.stdout.write(
    `${name.padEnd(50)} ${median(seconds).toFixed(2).padStart(7)} s  spread ${Math.round(spread(seconds) * 100)} %\n`,
  );
