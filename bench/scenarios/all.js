/**
 * What is measured, in the order in which it runs. A scenario is { name, group?: 'write', metrics, images: names, subjects?(chosen),
 * measure(context, subject, image) -> [{ metric, image, unit, value, check? }] }; lower values are better in all of them.
 */
import { append } from './append.js';
import { bulk } from './bulk.js';
import { chmod } from './chmod.js';
import { chown } from './chown.js';
import { compile } from './compile.js';
import { depth } from './depth.js';
import { find } from './find.js';
import { firstRead } from './first-read.js';
import { git } from './git.js';
import { index } from './index-archive.js';
import { lsLR } from './ls-lr.js';
import { memory } from './memory.js';
import { mountCached } from './mount-cached.js';
import { mountCold } from './mount-cold.js';
import { npmCi } from './npm-ci.js';
import { negative } from './negative.js';
import { openReadClose } from './open-read-close.js';
import { readAll } from './read-all.js';
import { ready } from './ready.js';
import { removeLower } from './remove-lower.js';
import { smallFiles } from './small-files.js';
import { stat } from './stat.js';
import { walk } from './walk.js';

export const SCENARIOS = [
  stat,
  find,
  walk,
  lsLR,
  negative,
  readAll,
  openReadClose,
  firstRead,
  depth,
  mountCold,
  mountCached,
  index,
  ready,
  memory,
  smallFiles,
  git,
  npmCi,
  compile,
  chmod,
  removeLower,
  chown,
  append,
  bulk,
];
