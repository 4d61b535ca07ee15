/** `USER[:GROUP]`, names or numbers, by the passwd and group files of an image that is not mounted. */
import { LaminaError } from '../errors.js';
import type { ImageView } from '../merge/view.js';
import type { Owner } from './layer-plan.js';

/** A user alone has its own group; where a number is no user of the file, the number, as docker has it. Raises EBUILD. */
export function ownerOf(view: ImageView, text: string): Owner {
  const [user = '', group] = text.split(/:(.*)/s);
  const entry = lines(view, '/etc/passwd').find(([name]) => name === user);
  const uid = entry === undefined ? number(user, 'user', 'passwd') : Number(entry[2]);
  if (group === undefined || group === '') return { uid, gid: entry === undefined ? uid : Number(entry[3]) };
  const named = lines(view, '/etc/group').find(([name]) => name === group);
  return { uid, gid: named === undefined ? number(group, 'group', 'group') : Number(named[2]) };
}

function number(text: string, what: string, file: string): number {
  if (/^\d{1,10}$/.test(text)) return Number(text);
  throw new LaminaError(
    'EBUILD',
    `unable to convert ${what} ${text}: the image's /etc/${file} has none of that name`,
    {
      hint: 'Give a number, or make the user in a step before.',
    },
  );
}

function lines(view: ImageView, file: string): string[][] {
  try {
    const ino = view.resolve(file);
    if (view.toc.inode(ino).type !== 'file') return [];
    const text = Buffer.concat([...view.chunks(ino)]).toString('utf8');
    return text
      .split('\n')
      .map((line) => line.split(':'))
      .filter((fields) => /^\d+$/.test(fields[2] ?? ''));
  } catch (error) {
    if (error instanceof LaminaError && ['ENOENT', 'ENOTDIR', 'ELOOP'].includes(error.code)) return [];
    throw error;
  }
}
