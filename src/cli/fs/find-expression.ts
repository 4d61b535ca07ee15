/**
 * The expressions of GNU find (findutils, find(1)) that make sense for an image: tests, -prune, -print, -print0 and the
 * operators. `-xattr GLOB` is ours: a file that has an extended attribute of such a name.
 */
import type { ByteString } from '../../bytes.js';
import { LaminaError } from '../../errors.js';
import type { NodeType } from '../../layer/tree.js';
import type { TocInode } from '../../merge/toc-reader.js';
import type { ImageView, WalkEntry } from '../../merge/view.js';
import type { Accounts } from './attributes.js';
import { globMatcher } from './glob.js';
import { parsePermissions } from './permissions.js';

/** A name that find has come to. */
export interface Candidate {
  entry: WalkEntry;
  inode: TocInode;
  /** The path as it is shown: it begins as the user began it. */
  path: ByteString;
  /** What is to be printed, and what after it. */
  print(end: '\n' | '\0'): void;
  /** Do not go into this directory. */
  prune(): void;
}

export type Test = (candidate: Candidate) => boolean;

export interface Expression {
  test: Test;
  minDepth: number;
  maxDepth: number;
}

const TYPES: Record<string, NodeType> = {
  f: 'file',
  d: 'dir',
  l: 'symlink',
  c: 'char',
  b: 'block',
  p: 'fifo',
  s: 'socket',
};

/** What `-size` counts in. */
const SIZE_UNITS: Record<string, number> = { b: 512, c: 1, w: 2, k: 2 ** 10, M: 2 ** 20, G: 2 ** 30 };

/** Parses the words after the paths. An expression that prints nothing prints all that it is true for. Raises EUSAGE. */
export function parseExpression(
  words: readonly ByteString[],
  view: ImageView,
  accounts: Accounts,
): Expression {
  return new Parser(words, view, accounts).parse();
}

class Parser {
  readonly #words: ByteString[];
  #minDepth = 0;
  #maxDepth = Infinity;
  #hasAction = false;

  constructor(
    words: readonly ByteString[],
    private readonly view: ImageView,
    private readonly accounts: Accounts,
  ) {
    this.#words = [...words].reverse();
  }

  parse(): Expression {
    const test = this.#words.length === 0 ? always : this.#or();
    if (this.#words.length > 0) throw usage(`unexpected "${this.#words.at(-1)}"`);
    const printing: Test = (candidate) => {
      if (test(candidate)) candidate.print('\n');
      return true;
    };
    return {
      test: this.#hasAction ? test : printing,
      minDepth: this.#minDepth,
      maxDepth: this.#maxDepth,
    };
  }

  #or(): Test {
    let left = this.#and();
    while (this.#take('-o', '-or')) {
      const [first, second] = [left, this.#and()];
      left = (candidate) => first(candidate) || second(candidate);
    }
    return left;
  }

  #and(): Test {
    let left = this.#not();
    for (;;) {
      const next = this.#words.at(-1);
      if (next === undefined || next === ')' || next === '-o' || next === '-or') return left;
      this.#take('-a', '-and');
      const [first, second] = [left, this.#not()];
      left = (candidate) => first(candidate) && second(candidate);
    }
  }

  #not(): Test {
    if (this.#take('!', '-not')) {
      const test = this.#not();
      return (candidate) => !test(candidate);
    }
    if (!this.#take('(')) return this.#primary();
    const inner = this.#or();
    if (!this.#take(')')) throw usage('a ")" is missing');
    return inner;
  }

  #take(...words: string[]): boolean {
    const isNext = words.includes(this.#words.at(-1) ?? '');
    if (isNext) this.#words.pop();
    return isNext;
  }

  #primary(): Test {
    const word = this.#words.pop();
    if (word === undefined) throw usage('an expression is missing at the end');
    switch (word) {
      case '-true':
        return always;
      case '-false':
        return () => false;
      case '-print':
      case '-print0':
        this.#hasAction = true;
        return ({ print }) => {
          print(word === '-print' ? '\n' : '\0');
          return true;
        };
      case '-prune':
        return ({ prune }) => {
          prune();
          return true;
        };
      case '-empty':
        return ({ inode }) =>
          inode.type === 'dir'
            ? this.view.toc.entries(inode.ino).length === 0
            : inode.type === 'file' && inode.sizeBytes === 0;
    }
    const value = this.#words.pop();
    if (value === undefined || !word.startsWith('-')) {
      throw usage(
        word.startsWith('-') ? `missing argument to "${word}", or no such test` : `unexpected "${word}"`,
      );
    }
    return this.#withValue(word, value);
  }

  #withValue(word: ByteString, value: ByteString): Test {
    switch (word) {
      case '-maxdepth':
        this.#maxDepth = depth(word, value);
        return always;
      case '-mindepth':
        this.#minDepth = depth(word, value);
        return always;
      case '-name':
      case '-iname': {
        const matches = globMatcher(value, word === '-iname');
        return ({ entry }) => matches(entry.name);
      }
      case '-path':
      case '-wholename':
      case '-ipath': {
        const matches = globMatcher(value, word === '-ipath');
        return ({ path }) => matches(path);
      }
      case '-lname': {
        const matches = globMatcher(value);
        return ({ inode }) => inode.type === 'symlink' && matches(inode.target);
      }
      case '-xattr': {
        const matches = globMatcher(value);
        return ({ inode }) => inode.xattrs?.some(({ name }) => matches(name)) ?? false;
      }
      case '-type':
        return ofType(value);
      case '-size':
        return ofSize(value);
      case '-perm':
        return ofMode(value);
      case '-newer':
        return newerThan(this.view.lstat(value));
      case '-user':
      case '-group':
        return this.#ownedBy(word, value);
    }
    const numbers: Record<string, keyof TocInode> = {
      '-links': 'nlink',
      '-uid': 'uid',
      '-gid': 'gid',
      '-inum': 'ino',
    };
    const field = numbers[word];
    if (field === undefined) throw usage(`unknown test "${word}"`);
    const compare = comparison(word, value);
    return ({ inode }) => compare(inode[field] as number);
  }

  #ownedBy(word: '-user' | '-group', value: ByteString): Test {
    const id = word === '-user' ? this.accounts.uid(value) : this.accounts.gid(value);
    if (id === undefined) throw usage(`the image has no ${word.slice(1)} "${value}"`);
    return ({ inode }) => (word === '-user' ? inode.uid : inode.gid) === id;
  }
}

const always: Test = () => true;

function usage(message: string): LaminaError {
  return new LaminaError('EUSAGE', `find: ${message}`, {
    hint: 'See find(1), and: lamina fs find --help.',
  });
}

function depth(word: string, value: ByteString): number {
  if (!/^\d+$/.test(value)) throw usage(`"${word}" needs a number, not "${value}"`);
  return Number(value);
}

/** `+N` more than N, `-N` less, `N` exactly. */
function comparison(word: string, value: ByteString): (number: number) => boolean {
  const match = /^([-+]?)(\d+)$/.exec(value);
  if (match === null) throw usage(`"${word}" needs a number, not "${value}"`);
  const wanted = Number(match[2]);
  if (match[1] === '+') return (number) => number > wanted;
  return match[1] === '-' ? (number) => number < wanted : (number) => number === wanted;
}

function ofType(value: ByteString): Test {
  const types = value.split(',').map((letter) => {
    const type = TYPES[letter];
    if (type === undefined) throw usage(`"-type" knows f, d, l, c, b, p and s, not "${letter}"`);
    return type;
  });
  return ({ inode }) => types.includes(inode.type);
}

/** As find: sizes are rounded up to the unit before they are compared, so that `-size -1M` is true of empty files only. */
function ofSize(value: ByteString): Test {
  const match = /^([-+]?\d+)([bcwkMG]?)$/.exec(value);
  if (match === null) throw usage(`invalid size "${value}"`);
  const unit = SIZE_UNITS[match[2] || 'b']!;
  const compare = comparison('-size', match[1]!);
  return ({ inode }) => compare(Math.ceil(inode.sizeBytes / unit));
}

/** `-MODE` all of the bits, `/MODE` any of them (any file where the mode is 0), `MODE` exactly. */
function ofMode(value: ByteString): Test {
  const prefix = /^[-/]/.exec(value)?.[0];
  const bits = parsePermissions(prefix === undefined ? value : value.slice(1));
  if (prefix === '-') return ({ inode }) => (inode.mode & bits) === bits;
  if (prefix === '/') return ({ inode }) => bits === 0 || (inode.mode & bits) !== 0;
  return ({ inode }) => inode.mode === bits;
}

function newerThan(reference: TocInode): Test {
  return ({ inode }) =>
    inode.mtimeSec > reference.mtimeSec ||
    (inode.mtimeSec === reference.mtimeSec && inode.mtimeNsec > reference.mtimeNsec);
}
