/** WORKDIR makes its directory when it is not there. */
import { utf8ToBytes } from '../bytes.js';
import { writeLayerFile } from './layer-file.js';
import { LayerPlan } from './layer-plan.js';
import { ownerOf } from './owner.js';
import type { LayerStep, StageBuilder } from './stage-builder.js';
import { configOf } from './state.js';

/** The config has the new directory already. It belongs to the user that commands run as, as in BuildKit. */
export async function workdirStep({ session, state }: StageBuilder): Promise<LayerStep> {
  const config = configOf(state);
  const directory = config['WorkingDir'] as string;
  const view = await session.view(state);
  const plan = new LayerPlan(view);
  const user = typeof config['User'] === 'string' ? config['User'] : '';
  const owner = user === '' ? { uid: 0, gid: 0 } : ownerOf(view, user);
  plan.makeDirectory(plan.resolve(utf8ToBytes(directory)), { owner, timeSec: session.nowSec });
  return {
    key: ['WORKDIR', await plan.digest()],
    createdBy: `WORKDIR ${directory}`,
    make: async () =>
      plan.isEmpty
        ? undefined
        : writeLayerFile(session.cache.root, (sink) => plan.write(sink, session.options.epochSec)),
  };
}
