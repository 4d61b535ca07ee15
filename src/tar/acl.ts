/**
 * POSIX ACLs as star and GNU tar write them (text, SCHILY.acl.access and .default) -> the value that Linux keeps as an
 * extended attribute. Sources: star(5) "SCHILY.acl.access"; linux/posix_acl_xattr.h; acl(5), "ACL TEXT FORMS".
 * Only ids count: a named entry without a number would mean another user on every machine, and is not converted.
 */
import type { ByteString } from '../bytes.js';
import { parseDecimal } from './header.js';

const VERSION = 2;
const NO_ID = 0xffffffff;

/** Tags of linux/posix_acl.h; entries must stand in this order. */
const USER_OBJ = 0x01;
const USER = 0x02;
const GROUP_OBJ = 0x04;
const GROUP = 0x08;
const MASK = 0x10;
const OTHER = 0x20;

interface AclEntry {
  tag: number;
  permissions: number;
  id: number;
}

/**
 * One ACL. undefined when it is malformed, names somebody without an id, or (not for defaults) says no more
 * than the permission bits, in which case Linux keeps no attribute either. A star entry may carry the id as a fourth
 * field (`user:lp:rwx:7`).
 */
export function aclFromText(text: ByteString, isDefault: boolean): Buffer | undefined {
  const entries: AclEntry[] = [];
  for (const line of text.split(/[,\n]/)) {
    const bare = line.replace(/#.*/, '').trim();
    if (bare === '') continue;
    const entry = parseEntry(bare);
    if (entry === undefined) return undefined;
    entries.push(entry);
  }
  const count = (tag: number): number => entries.filter((entry) => entry.tag === tag).length;
  const isNamed = count(USER) + count(GROUP) > 0;
  if (count(USER_OBJ) !== 1 || count(GROUP_OBJ) !== 1 || count(OTHER) !== 1 || count(MASK) > 1)
    return undefined;
  if (isNamed && count(MASK) === 0) return undefined;
  if (entries.length === 3 && !isDefault) return undefined;
  entries.sort((a, b) => a.tag - b.tag || a.id - b.id);
  const value = Buffer.alloc(4 + 8 * entries.length);
  value.writeUInt32LE(VERSION, 0);
  entries.forEach((entry, index) => {
    value.writeUInt16LE(entry.tag, 4 + 8 * index);
    value.writeUInt16LE(entry.permissions, 6 + 8 * index);
    value.writeUInt32LE(entry.id, 8 + 8 * index);
  });
  return value;
}

function parseEntry(text: ByteString): AclEntry | undefined {
  const match = /^(u|user|g|group|m|mask|o|other):([^:]*):([r-][w-][x-])(?::(\d+))?$/.exec(text);
  if (match === null) return undefined;
  const [, kind, who, flags, number] = match as unknown as [
    string,
    string,
    string,
    string,
    string | undefined,
  ];
  const permissions = (flags[0] === 'r' ? 4 : 0) + (flags[1] === 'w' ? 2 : 0) + (flags[2] === 'x' ? 1 : 0);
  const isUser = kind.startsWith('u');
  if (who === '') {
    const tag = isUser ? USER_OBJ : kind.startsWith('g') ? GROUP_OBJ : kind.startsWith('m') ? MASK : OTHER;
    return { tag, permissions, id: NO_ID };
  }
  if (!isUser && !kind.startsWith('g')) return undefined;
  const id = parseDecimal(number ?? who);
  if (Number.isNaN(id) || id >= NO_ID) return undefined;
  return { tag: isUser ? USER : GROUP, permissions, id };
}
