/**
 * An image made on the spot from what this machine has: the Node runtime with npm, and the packages of this checkout.
 * Its upper layers do to the lower ones what real images do: replace, delete, delete and make again, turn files into
 * directories, and link.
 */
import { existsSync, mkdirSync, readdirSync, realpathSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { writeDockerArchive } from '../images/docker-archive.js';
import { PROJECT } from '../lib/work.js';
import { ModelImage } from './model.js';

const TIME = { mtimeSec: Date.UTC(2024, 0, 1) / 1000 };
const MODULES = 'app/node_modules';

/** Builds the image in `directory`; -> { archive, model: ModelImage, replaced: a path that two layers hold }. */
export async function assemble(directory) {
  const model = new ModelImage();
  mkdirSync(directory, { recursive: true });
  const layer = (write) => model.layer(join(directory, `${model.layers.length}.tar`), write);

  await layer(() => runtime(model));
  await layer(() => dependencies(model));
  const packages = names(model).filter((path) => /^app\/node_modules\/[^/@.]+\/package\.json$/.test(path));
  await layer(() => slim(model, packages));
  await layer(() => application(model));

  const archive = join(directory, 'demo.tar');
  await writeDockerArchive(archive, model.layers, {
    repository: 'lamina/demo',
    config: { Cmd: ['/usr/local/bin/node', '/app/main.js'] },
  });
  return { archive, model, replaced: packages.at(-1) };
}

const names = (model) => [...model.visible.keys()];

/** Layer 1: the program that runs this, and npm where it lies beside it. */
async function runtime(model) {
  for (const path of ['etc', 'usr', 'usr/local', 'usr/local/bin', 'usr/local/lib'])
    await model.dir(path, TIME);
  await model.file('etc/hostname', Buffer.from('demo\n'), TIME);
  await model.file('etc/motd', Buffer.from('to be replaced by a directory\n'), TIME);
  await model.copyTree(realpathSync(process.execPath), 'usr/local/bin/node');
  await model.hardLink('usr/local/bin/nodejs', 'usr/local/bin/node');
  const npm = join(dirname(realpathSync(process.execPath)), '../lib/node_modules/npm');
  if (existsSync(npm)) await model.copyTree(npm, 'usr/local/lib/npm');
}

/** Layer 2: what npm installed here. */
async function dependencies(model) {
  await model.dir('app', TIME);
  await model.dir(MODULES, TIME);
  const installed = join(PROJECT, 'node_modules');
  for (const name of readdirSync(installed).sort()) {
    if (!['.cache', '.vite', '.vite-temp', '.vitest'].includes(name))
      await model.copyTree(join(installed, name), `${MODULES}/${name}`);
  }
}

/** Layer 3: smaller. Every README is deleted, every third package.json replaced, some packages go, one comes back. */
async function slim(model, packages) {
  const readmes = names(model).filter((path) => path.startsWith('app/') && /\/readme\.md$/i.test(path));
  for (const path of readmes) await model.whiteout(path);
  for (const [index, path] of packages.entries()) {
    const home = dirname(path);
    if (index % 3 === 2 || index === packages.length - 1)
      await model.file(path, Buffer.from(`{"name":"replaced-${index}"}\n`), TIME);
    else if (index % 10 === 3) await model.whiteout(home);
    else if (index % 10 === 6) {
      await model.dir(home, { ...TIME, mode: 0o750 });
      await model.opaque(home);
      await model.file(`${home}/only.txt`, Buffer.from('all that was here before is hidden\n'), TIME);
    }
  }
  await model.whiteout('etc/motd');
  await model.dir('etc/motd', TIME);
  await model.file('etc/motd/10-welcome', Buffer.from('hello\n'), TIME);
}

/** Layer 4: the application; hard links, symlinks, an attribute; one name of the runtime goes, the other stays. */
async function application(model) {
  const attribute = { 'SCHILY.xattr.user.lamina': 'demo' };
  await model.file('app/main.js', Buffer.from("console.log('hello from an image');\n"), {
    ...TIME,
    pax: attribute,
  });
  await model.dir('app/bin', TIME);
  for (let i = 0; i < 20; i++) await model.hardLink(`app/bin/start-${i}`, 'app/main.js');
  await model.symlink('app/current', '/app/bin/start-0', TIME);
  await model.whiteout('usr/local/bin/nodejs');
}
