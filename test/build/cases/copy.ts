/** COPY, ADD and .dockerignore. */
import type { BuildCase } from '../case.js';

const TREE = {
  'src/a.txt': 'a',
  'src/b.txt': 'bb',
  'src/sub/c': { mode: 0o755, content: 'c' },
  'src/sub/deep/d': { mode: 0o600, content: 'd' },
  'src/empty': { dir: true, mode: 0o700 },
  'src/link': { link: 'a.txt' },
  'src/up': { link: '../top' },
  top: 'top',
} as const;

export const COPY_CASES: readonly BuildCase[] = [
  { name: 'a file to a file', dockerfile: 'FROM base\nCOPY top /dest', files: TREE },
  { name: 'a file into a directory that is there', dockerfile: 'FROM base\nCOPY top /opt/data', files: TREE },
  { name: 'a file into a directory that is not', dockerfile: 'FROM base\nCOPY top /n/e/w/', files: TREE },
  { name: 'a file over a file', dockerfile: 'FROM base\nCOPY top /opt/file', files: TREE },
  { name: 'a directory', dockerfile: 'FROM base\nCOPY src /dest', files: TREE },
  { name: 'a directory into one that is there', dockerfile: 'FROM base\nCOPY src/ /opt/data/', files: TREE },
  { name: 'everything', dockerfile: 'FROM base\nCOPY . /all/', files: TREE },
  { name: 'several sources', dockerfile: 'FROM base\nCOPY top src/a.txt src/sub /d/', files: TREE },
  {
    name: 'the array form, names with blanks',
    dockerfile: 'FROM base\nCOPY ["a b", "c d/", "/x y/"]',
    files: { 'a b': '1', 'c d/e': '2' },
  },
  { name: 'wildcards', dockerfile: 'FROM base\nCOPY src/*.txt /w/\nCOPY s?c/s[t-v]b/c /v/', files: TREE },
  {
    name: 'wildcards of directories',
    dockerfile: 'FROM base\nCOPY d* /w/',
    files: { 'd1/a': '1', 'd2/b': '2', d3: '3' },
  },
  {
    name: 'a link as the source',
    dockerfile: 'FROM base\nCOPY src/link /x\nCOPY to-dir /y/',
    files: { ...TREE, 'to-dir': { link: 'src/sub' } },
  },
  {
    name: 'a link as the destination',
    dockerfile: 'FROM base\nCOPY top /link/\nCOPY top /rel/z',
    files: TREE,
  },
  {
    name: '--chown by number',
    dockerfile: 'FROM base\nCOPY --chown=11:12 src /n/\nCOPY --chown=13 top /t',
    files: TREE,
  },
  {
    name: '--chown by name',
    dockerfile: 'FROM base\nCOPY --chown=worker:audio src/sub /n/\nCOPY --chown=worker top /t',
    files: TREE,
  },
  {
    name: '--chmod',
    dockerfile: 'FROM base\nCOPY --chmod=640 top /t\nCOPY --chmod=755 src/sub /s/',
    files: TREE,
  },
  {
    name: 'a relative destination',
    dockerfile: 'FROM base\nWORKDIR /opt\nCOPY top rel\nCOPY top ./\nCOPY top data/../x',
    files: TREE,
  },
  {
    name: 'variables in the words',
    dockerfile: 'FROM base\nARG D=/v\nENV F=top\nCOPY $F ${D}/x',
    files: TREE,
  },
  {
    name: 'setuid and sticky bits',
    differences: [
      {
        paths: /^\/m\/[sg]$/,
        reason:
          'buildah takes setuid and setgid bits from what is copied out of the context; docker does not',
      },
    ],
    dockerfile: 'FROM base\nCOPY m /m/',
    files: { 'm/s': { mode: 0o4755 }, 'm/t': { dir: true, mode: 0o1777 }, 'm/g': { mode: 0o2710 } },
  },
  {
    name: 'names of one file',
    dockerfile: 'FROM base\nCOPY h /h/',
    files: { 'h/a': 'same', 'h/b': { hardLink: 'h/a' } },
  },
  {
    name: '.dockerignore',
    dockerfile: 'FROM base\nCOPY . /all/',
    files: {
      '.dockerignore': '# c\n*.md\n!keep.md\nout\n**/*.o\n/top/only\n',
      'a.md': 'x',
      'keep.md': 'k',
      'out/x': '1',
      'out/y.md': '2',
      'd/z.o': 'o',
      'd/z.c': 'c',
      'd/a.md': 'm',
      'top/only': 't',
      'top/other': 'o',
    },
  },
  {
    name: '.dockerignore with exceptions in what is left out',
    dockerfile: 'FROM base\nCOPY . /all/',
    files: {
      '.dockerignore': 'd\n!d/keep\n!d/e/k*\n',
      'd/keep': '1',
      'd/gone': '2',
      'd/e/k1': '3',
      'd/e/x': '4',
      f: 'f',
    },
  },
  {
    name: '.dockerignore leaves everything out but',
    dockerfile: 'FROM base\nCOPY . /all/',
    files: { '.dockerignore': '*\n!a\n!b/c\n', a: '1', 'b/c': '2', 'b/d': '3', e: '5' },
  },
  {
    name: 'COPY --from keeps owners',
    dockerfile:
      'FROM base AS one\nRUN mkdir /o && echo x > /o/x && chown 5:6 /o/x && chown 7:8 /o && chmod 2750 /o\nFROM base\nCOPY --from=one /o /p/\nCOPY --from=one --chown=9:9 /o/x /q',
    files: {},
  },
  { name: 'COPY --from a link', dockerfile: 'FROM base\nCOPY --from=base /link/passwd /pw', files: {} },
  { name: 'ADD of a file', dockerfile: 'FROM base\nADD top /dest/', files: TREE },
  { name: 'ADD unpacks a tar', dockerfile: 'FROM base\nADD t.tar /u', files: { 't.tar': 'TAR' } },
  {
    name: 'ADD unpacks gzip, bzip2 and xz',
    dockerfile: 'FROM base\nADD t.tar.gz /g/\nADD t.tar.bz2 /b/\nADD t.tar.xz /x/',
    files: { 't.tar.gz': 'TAR', 't.tar.bz2': 'TAR', 't.tar.xz': 'TAR' },
  },
  {
    name: 'ADD of what only looks like a tar',
    dockerfile: 'FROM base\nADD no.tar.gz /u/',
    files: { 'no.tar.gz': 'no archive' },
  },
  {
    name: 'ADD with --chown of a tar',
    dockerfile: 'FROM base\nADD --chown=5:6 t.tar /u',
    files: { 't.tar': 'TAR' },
  },
  { name: 'COPY of a tar copies it', dockerfile: 'FROM base\nCOPY t.tar /u/', files: { 't.tar': 'TAR' } },
];
