/**
 * Who runs: `USER[:GROUP]` of an image or of `--user`, names or numbers, looked up in the root's own /etc/passwd and /etc/group. Rules of
 * moby/sys/user (GetExecUser), which docker, podman and runc share.
 */
import { readFileSync } from 'node:fs';
import { LaminaError } from '../errors.js';
import { findInRoot } from './in-root.js';

export interface ResolvedUser {
  uid: number;
  gid: number;
  /** Without a group of its own in the request: the groups whose lists hold the user's name. */
  additionalGids: readonly number[];
  /** `/` where the passwd file does not know the user. */
  home: string;
  /** The name in the passwd file. */
  name: string | undefined;
}

/** Raises EUSER when a name is not there, or a number is none that the kernel takes. */
export function resolveUser(root: string, text: string, groupAdd: readonly string[] = []): ResolvedUser {
  const at = text.indexOf(':');
  const [userText, groupText] = at < 0 ? [text, ''] : [text.slice(0, at), text.slice(at + 1)];
  const groups = readLines(root, '/etc/group').map(parseGroup);
  const entry = findUser(readLines(root, '/etc/passwd').map(parseUser), userText || '0');
  const uid = entry?.uid ?? numberOf(userText || '0', `unable to find user ${userText}`, 'passwd');
  const ofName = groups.filter(({ members }) => entry !== undefined && members.includes(entry.name));
  const explicit = groupText === '' ? undefined : findGroup(groups, groupText);
  const inherited = explicit === undefined ? ofName.map(({ gid }) => gid) : [];
  const added = groupAdd.map((group) => findGroup(groups, group));
  return {
    uid,
    gid: explicit ?? entry?.gid ?? 0,
    additionalGids: [...new Set([...inherited, ...added])],
    home: entry?.home || '/',
    name: entry?.name,
  };
}

interface UserEntry {
  name: string;
  uid: number;
  gid: number;
  home: string;
}

interface GroupEntry {
  name: string;
  gid: number;
  members: readonly string[];
}

/** A name first, also one that is a number; then a number. */
function findUser(entries: readonly UserEntry[], wanted: string): UserEntry | undefined {
  return (
    entries.find(({ name }) => name === wanted) ??
    (/^\d+$/.test(wanted) ? entries.find(({ uid }) => uid === Number(wanted)) : undefined)
  );
}

function findGroup(entries: readonly GroupEntry[], wanted: string): number {
  const found = entries.find(({ name }) => name === wanted);
  return found?.gid ?? numberOf(wanted, `unable to find group ${wanted}`, 'group');
}

/** The kernel takes what fits 31 bits here, as docker allows. */
const MAX_ID = 0x7fffffff;

function numberOf(text: string, what: string, file: string): number {
  if (!/^\d+$/.test(text))
    throw new LaminaError('EUSER', `${what}: no matching entries in ${file} file`, {
      hint: `Name one that the image's /etc/${file} has, or give a number.`,
    });
  if (Number(text) > MAX_ID)
    throw new LaminaError('EUSER', `${what}: uids and gids must be in range 0-${MAX_ID}`);
  return Number(text);
}

function parseUser(line: string): UserEntry {
  const [name = '', , uid = '', gid = '', , home = ''] = line.split(':');
  return { name, uid: Number(uid), gid: Number(gid), home };
}

function parseGroup(line: string): GroupEntry {
  const [name = '', , gid = '', members = ''] = line.split(':');
  return { name, gid: Number(gid), members: members.split(',').map((member) => member.trim()) };
}

/** Larger than any real one; what an image holds is not trusted. */
const MAX_BYTES = 16 << 20;

function readLines(root: string, inside: string): string[] {
  const file = findInRoot(root, inside);
  if (file === undefined) return [];
  try {
    const text = readFileSync(file, 'utf8').slice(0, MAX_BYTES);
    return text.split('\n').filter((line) => /^[^#:]+:[^:]*:\d+:/.test(line));
  } catch {
    return [];
  }
}
