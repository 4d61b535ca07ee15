/** `lamina fs find IMAGE [PATH...] [EXPRESSION]`: the words after the image are those of find(1). */
import type { Command } from 'commander';
import type { ByteString } from '../../bytes.js';
import { imageCommand, readImage } from './image.js';
import type { JsonFlags, Reading } from './image.js';

const DESCRIPTION = `Find files

The words after the image are those of find(1): paths, then an expression of
  -name -iname -path -ipath -lname GLOB   -type f,d,l,c,b,p,s   -size [+-]N[bcwkMG]
  -newer FILE   -perm [-/]MODE   -user NAME   -group NAME   -uid -gid -links -inum [+-]N
  -empty   -xattr GLOB (has such an extended attribute)   -maxdepth N   -mindepth N
  -prune -print -print0   ! -not -a -o ( )`;

export function register(parent: Command): void {
  imageCommand(parent, 'find', DESCRIPTION)
    .usage('[OPTIONS] IMAGE [PATH...] [EXPRESSION]')
    .argument('[words...]')
    .option('--json', 'Print in JSON format')
    .allowUnknownOption()
    .action(async (image: string, words: string[], flags: JsonFlags) => {
      const { argumentBytes } = await import('./output.js');
      await readImage(image, flags, (reading) =>
        find(reading, words.map(argumentBytes), flags.json === true),
      );
    });
}

async function find({ view, out }: Reading, words: readonly ByteString[], asJson: boolean): Promise<void> {
  const [{ parseExpression }, { Accounts, jsonFile }, { JsonArray }] = await Promise.all([
    import('./find-expression.js'),
    import('./attributes.js'),
    import('./output.js'),
  ]);
  const firstTest = words.findIndex((word) => /^[-!(]/.test(word));
  const paths = words.slice(0, firstTest < 0 ? words.length : firstTest);
  const expression = parseExpression(words.slice(paths.length), view, new Accounts(view));
  const json = asJson ? new JsonArray(out) : undefined;
  const starts = (paths.length === 0 ? ['/'] : paths).map((path) => ({
    path,
    located: view.locate(path, { follow: false, syscall: 'lstat' }),
  }));
  for (const { path: given, located } of starts) {
    let isPruned = false;
    const resolvedLength = located.path.length;
    const walk = view.walk(located, ({ depth }) => !isPruned && depth < expression.maxDepth);
    for (const entry of walk) {
      isPruned = false;
      if (entry.depth < expression.minDepth) continue;
      const path = shownPath(given, entry.path.slice(resolvedLength));
      const inode = view.toc.inode(entry.ino);
      const ends: string[] = [];
      expression.test({
        entry,
        inode,
        path,
        print: (end) => void ends.push(end),
        prune: () => void (isPruned = true),
      });
      for (const end of ends) {
        if (json !== undefined) await json.add(jsonFile(view, inode, path));
        // What is printed for xargs -0 is not for a person.
        else await out.print(`${end === '\0' ? path : out.name(path)}${end}`);
      }
    }
  }
  await json?.end();
}

/** `/usr/` and `bin`, `/` and `/bin`, `.` and `/bin`. */
function shownPath(given: ByteString, rest: ByteString): ByteString {
  if (rest === '') return given;
  return given.endsWith('/') === rest.startsWith('/')
    ? given + (given.endsWith('/') ? rest.slice(1) : `/${rest}`)
    : given + rest;
}
