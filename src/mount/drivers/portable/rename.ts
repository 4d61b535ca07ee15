/**
 * rename(2), of everything (kernel: fs/overlayfs/dir.c, ovl_rename). What moves is copied up first: of files the attributes, of
 * directories only themselves; a redirect says where the rest is to be found. As native/overlay/rename.cc.
 */
import { renameSync, unlinkSync } from 'node:fs';
import type { ByteString } from '../../../bytes.js';
import type { Place } from './descriptors.js';
import { at } from './descriptors.js';
import { systemError } from './errno.js';
import type { Found } from './lookup.js';
import { checkNewName } from './names.js';
import type { Names } from './names.js';

/** Raises what rename(2) raises. */
export function rename(names: Names, from: ByteString, to: ByteString): void {
  const { lookup, undo } = names;
  const { upper } = lookup;
  checkNewName(to);
  if (from === to) return;
  const target = lookup.find(to);
  let source = lookup.get(from);
  if (source.type === 'dir' && to.startsWith(`${from}/`)) throw systemError('EINVAL');
  if (target.type !== undefined) {
    if (source.type === 'dir' && target.type !== 'dir') throw systemError('ENOTDIR');
    if (source.type !== 'dir' && target.type === 'dir') throw systemError('EISDIR');
    // Two names of one lower file.
    if (target.object === undefined && source.object === undefined && target.lower === source.lower) return;
  }
  source = prepareMove(names, source, to);
  if (target.type !== undefined) makeRoom(names, target);
  const old = names.parentOf(from);
  const into = names.parentOf(to);
  const [oldPlace, newPlace] = [old, into].map(({ dir, name }) => ({ dir, name })) as [Place, Place];
  const replaced = lookup.find(to);
  if (replaced.type !== undefined && replaced.object === source.object) return;
  const overWhiteout = source.type === 'dir' && replaced.type === undefined && replaced.whiteout;
  const leavesWhiteout = lookup.lowerHas(old.parent, old.name);
  const whiteout = leavesWhiteout ? upper.prepareWhiteout(old.dir) : undefined;
  const move = (): void => {
    if (overWhiteout) unlinkSync(at(newPlace));
    renameSync(at(oldPlace), at(newPlace));
    if (whiteout !== undefined) renameSync(at(whiteout), at(oldPlace));
  };
  if (overWhiteout || leavesWhiteout)
    undo.guard([...(leavesWhiteout ? [from] : []), ...(overWhiteout ? [to] : [])], move);
  else move();
  if (source.type === 'dir') {
    lookup.forgetTree(from);
    lookup.forgetTree(to);
    if (source.lower !== undefined) lookup.moved(source.lower, to);
  } else {
    lookup.forget(from);
    lookup.forget(to);
  }
}

/** Copies up what is to move and makes it fit for its new place. */
function prepareMove({ lookup, copyUp }: Names, source: Found, to: ByteString): Found {
  const found = copyUp.attributes(source);
  if (found.type !== 'dir') {
    if (lookup.isMetacopy(found)) copyUp.setRedirect(found);
    return found;
  }
  const slash = to.lastIndexOf('/');
  if (found.lower !== undefined) copyUp.setRedirect(found);
  else if (lookup.lowerHas(lookup.getDirectory(to.slice(0, slash)), to.slice(slash + 1))) {
    // It would be merged with what lies below its new name.
    lookup.upper.setOpaque(lookup.place(found.path));
    lookup.forgetMarks(found.object);
  }
  return found;
}

/** Takes away what the rename replaces, as far as rename(2) does not do it. */
function makeRoom(names: Names, target: Found): void {
  const { lookup, copyUp } = names;
  if (target.type !== 'dir') {
    // Its other names, if it has any, must be copied up before this one goes.
    if (target.object === undefined && lookup.toc.inode(target.lower!).nlink > 1) copyUp.attributes(target);
    return;
  }
  if (names.list(target).length > 0) throw systemError('ENOTEMPTY');
  if (target.object === undefined) return;
  // Opaque first: the whiteouts in it hide what must not come back.
  if (target.lower !== undefined) {
    lookup.upper.setOpaque(lookup.place(target.path));
    lookup.forgetMarks(target.object);
    lookup.forget(target.path);
  }
  names.clearWhiteouts(lookup.directory(target.path));
}
