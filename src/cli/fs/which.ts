/** `lamina fs which IMAGE PATH`: every layer that has a say about a path, what it hides, and which one wins. */
import type { Command } from 'commander';
import type { ByteString } from '../../bytes.js';
import type { Hiding, LayerOpinion } from '../../image/provenance.js';
import type { OpenedImage } from '../../image/open.js';
import type { NodeType } from '../../layer/tree.js';
import type { ImageView } from '../../merge/view.js';
import { imageCommand, readImage } from './image.js';
import type { JsonFlags, Reading } from './image.js';

export function register(parent: Command): void {
  imageCommand(parent, 'which', 'Print which layers have a path, what hides it and which one wins')
    .argument('<path>')
    .option('--json', 'Print in JSON format')
    .action(async (image: string, path: string, flags: JsonFlags) => {
      await readImage(image, flags, (reading) => which(reading, path, flags.json === true));
    });
}

async function which(reading: Reading, text: string, asJson: boolean): Promise<void> {
  const { opened, view, out } = reading;
  const [{ provenance }, { argumentBytes, jsonName, jsonText }, { fsError }, { jsonFile }] =
    await Promise.all([
      import('../../image/provenance.js'),
      import('./output.js'),
      import('../../merge/view.js'),
      import('./attributes.js'),
    ]);
  const given = argumentBytes(text);
  const path = await placeOf(view, given);
  const opinions = provenance(await opened.layerTocs(), path, shownType(view, path));
  if (opinions.every(({ inode }) => inode === undefined)) throw fsError('ENOENT', 'lstat', given);
  const steps = stepsOf(opened);
  const hiding = (what: Hiding | undefined): object | undefined =>
    what === undefined ? undefined : { layer: what.layer, how: what.how, ...jsonName('path', what.path) };
  if (asJson) {
    const layers = opinions.map(({ layer, state, inode, hiddenBy, hides }) => ({
      layer,
      diffId: opened.archived.layers[layer]!.diffId,
      createdBy: steps[layer],
      state,
      file:
        inode === undefined
          ? undefined
          : { ...jsonFile(view, inode, path), ino: undefined, layer: undefined, blocks: undefined },
      hiddenBy: hiding(hiddenBy),
      hides: hiding(hides),
    }));
    await out.print(`${jsonText({ ...jsonName('path', path), exists: isVisible(opinions), layers })}\n`);
    return;
  }
  await out.print(`${out.name(path)}\n`);
  await out.print(await tableOf(reading, opinions, steps, path));
}

function shownType(view: ImageView, path: ByteString): NodeType | undefined {
  try {
    return view.lstat(path).type;
  } catch {
    return undefined;
  }
}

function isVisible(opinions: readonly LayerOpinion[]): boolean {
  return opinions.some(({ state }) => state === 'visible' || state === 'merged');
}

/** The path with links above its last part followed as far as it exists: a deleted path has a place too. */
async function placeOf(view: ImageView, given: ByteString): Promise<ByteString> {
  const { joinPath } = await import('../../merge/view.js');
  const names = given.split('/').filter((name) => name !== '' && name !== '.');
  const last = names.pop();
  if (last === undefined) return '/';
  if (last === '..') return view.realpath(given);
  let parent: ByteString = '/';
  for (const name of names) {
    try {
      parent = view.realpath(joinPath(parent, name));
    } catch {
      parent = joinPath(parent, name);
    }
  }
  return joinPath(parent, last);
}

/** What made each layer, from the config's history, where that tells of every layer. */
function stepsOf({ archived }: OpenedImage): (string | undefined)[] {
  const steps = archived.config.history.filter(({ emptyLayer }) => !emptyLayer);
  return steps.length === archived.layers.length ? steps.map(({ createdBy }) => createdBy) : [];
}

const STEP_COLUMNS = 60;

async function tableOf(
  { opened, out }: Reading,
  opinions: readonly LayerOpinion[],
  steps: readonly (string | undefined)[],
  path: ByteString,
): Promise<ByteString> {
  const [{ modeText }, { formatTable }, { utf8ToBytes, displayBytes }] = await Promise.all([
    import('./attributes.js'),
    import('../output/table.js'),
    import('../../bytes.js'),
  ]);
  const where = (hiding: Hiding): ByteString => (hiding.path === path ? '' : ` of ${out.name(hiding.path)}`);
  const what = ({ inode, hides }: LayerOpinion): ByteString => {
    if (inode === undefined)
      return `${hides!.how === 'replaced' ? 'not a directory: ' : `${hides!.how} `}${out.name(hides!.path)}`;
    if (inode.type === 'link') return `hard link to ${out.name(inode.target)}`;
    if (inode.implicit) return 'directory, not described';
    const size = inode.type === 'file' ? ` ${inode.sizeBytes} bytes` : '';
    const target = inode.type === 'symlink' ? ` -> ${out.name(inode.target)}` : '';
    return `${modeText(inode)} ${inode.uid}:${inode.gid}${size}${target}${inode.opaque ? ', opaque' : ''}`;
  };
  const state = ({ state: present, hiddenBy }: LayerOpinion): ByteString => {
    if (present === 'absent') return 'hides lower layers';
    if (hiddenBy === undefined) return present;
    return `hidden by layer ${hiddenBy.layer} (${hiddenBy.how}${where(hiddenBy)})`;
  };
  const rows = opinions.map((opinion) => [
    String(opinion.layer),
    opened.archived.layers[opinion.layer]!.diffId.replace(/^\w+:/, '').slice(0, 12),
    what(opinion),
    state(opinion),
    ...(steps.length === 0
      ? []
      : [utf8ToBytes(displayBytes(utf8ToBytes((steps[opinion.layer] ?? '').slice(0, STEP_COLUMNS))))]),
  ]);
  const heading = ['LAYER', 'DIFF ID', 'FILE', 'STATE', ...(steps.length === 0 ? [] : ['CREATED BY'])];
  return formatTable([heading, ...rows]);
}
