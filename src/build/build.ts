/** Builds an image: the stages that its target needs, those that do not depend on each other side by side. */
import { LaminaError } from '../errors.js';
import { familiarReference, parseReference, withDefaultTag } from '../oci/reference.js';
import { commitState } from './commit.js';
import type { BuildContext } from './context.js';
import { dockerfileError, StepError } from './errors.js';
import type { BuildOptions } from './options.js';
import { Session } from './session.js';
import { squashState } from './squash.js';
import { StageBuilder } from './stage-builder.js';
import type { StageResult } from './stage-builder.js';
import { neededStages, splitStages, stageNamed } from './stages.js';
import type { Stage, Stages } from './stages.js';
import { configOf, diffIdsOf, keyOf, timelessJson } from './state.js';
import type { BuildState, Json } from './state.js';

export interface BuiltImage {
  /** Config digest. */
  imageId: string;
}

/**
 * Raises EDOCKERFILE, EBUILD (a StepError knows the lines), ECANCELLED, ENOIMAGE, and what opening images, mounting, running and the store
 * raise. The images of the steps that were done stay, and are found by the next build.
 */
export async function buildImage(context: BuildContext, options: BuildOptions): Promise<BuiltImage> {
  const { dockerfile } = context;
  const stages = splitStages(dockerfile, options.platform, options.args);
  const target = targetOf(stages.stages, options.target);
  const session = await Session.open(options, context);
  try {
    const finished = await buildStages(session, stages, target);
    return await finish(session, finished);
  } finally {
    // Steps that were done stay done, whatever failed after them.
    await session.settled().catch(() => {});
    session.close();
  }
}

function targetOf(stages: readonly Stage[], name: string | undefined): Stage {
  if (name === undefined) return stages.at(-1)!;
  const found = stageNamed(stages, name);
  if (found !== undefined) return found;
  throw new LaminaError('EBUILD', `target stage "${name}" could not be found`, {
    hint: 'Name a stage of the Dockerfile, or its number.',
  });
}

interface Finished extends StageResult {
  /** What the stage was made from, below all stages. */
  base: BuildState;
}

async function buildStages(session: Session, { stages, globals }: Stages, target: Stage): Promise<Finished> {
  const { dockerfile } = session.context;
  const needed = neededStages(stages, target);
  const results = new Map<number, Promise<Finished>>();
  const result = (stage: Stage): Promise<Finished> => {
    let found = results.get(stage.index);
    if (found === undefined) {
      found = buildStage(stage);
      // Somebody waits for each at the end; until then a failure must not end the program.
      found.catch(() => {});
      results.set(stage.index, found);
    }
    return found;
  };
  const stateOf = async (name: string, before: Stage): Promise<BuildState> => {
    const stage = stageNamed(stages, name, before.index);
    return stage === undefined ? openBase(session, name, undefined) : (await result(stage)).state;
  };
  const buildStage = async (stage: Stage): Promise<Finished> => {
    const isOneOfMany = stages.length > 1;
    const sources = { dockerfile, globals, isOneOfMany, state: (name: string) => stateOf(name, stage) };
    if (stage.baseStage !== undefined) {
      const base = await result(stages[stage.baseStage]!);
      const built = await new StageBuilder(session, stage, sources, base).build();
      return { ...built, base: base.base };
    }
    const { line, endLine } = stage.from;
    const state = await openBase(session, stage.base, stage.platform).catch((error: unknown) => {
      if (!(error instanceof LaminaError)) throw error;
      const { code, message, hint, cause } = error;
      throw new StepError(code, `failed to solve: ${stage.base}: ${message}`, { hint, cause }, line, endLine);
    });
    const built = await new StageBuilder(session, stage, sources, { state, scope: undefined }).build();
    return { ...built, base: state };
  };
  await Promise.allSettled(needed.map(result));
  // The first that failed says why: what waited for it failed with it.
  for (const stage of needed) await result(stage);
  return result(target);
}

/** An image by its name, which gets the default tag; `scratch` is none. */
async function openBase(session: Session, name: string, platform: string | undefined): Promise<BuildState> {
  if (name === 'scratch' || /^(docker-archive|oci|oci-archive):/.test(name))
    return session.base(name, platform);
  try {
    const shown = familiarReference(withDefaultTag(parseReference(name)));
    return await session.base(shown, platform);
  } catch (error) {
    // An ID, or as much of one as tells it from others.
    if (error instanceof LaminaError && error.code === 'EUSAGE') return session.base(name, platform);
    throw error;
  }
}

/** Labels, squashing, names: the image as it is handed over. */
async function finish(session: Session, { state: built, base }: Finished): Promise<BuiltImage> {
  const { options } = session;
  const progress = options.progress.step('exporting to image');
  try {
    let state = built;
    if (options.labels.length > 0) {
      const config = structuredClone(configOf(state));
      const labels = (config['Labels'] ??= {}) as Record<string, string>;
      for (const [name, value] of options.labels) labels[name] = value;
      state = { ...state, isStored: false, json: { ...state.json, config } };
    }
    const squashed = options.squash ? await squashState(session, base, state) : undefined;
    state = squashed?.state ?? state;
    await session.settled();
    const imageId = await store(session, state, squashed?.layerFile);
    progress.log(`writing image ${imageId}`);
    for (const name of options.names) progress.log(`naming to ${familiarReference(name)}`);
    progress.done();
    return { imageId };
  } catch (error) {
    progress.failed((error as Error).message);
    throw error;
  }
}

async function store(
  session: Session,
  state: BuildState,
  layerFile: Parameters<typeof commitState>[2]['layerFile'],
): Promise<string> {
  const { options } = session;
  const key = keyOf('image', timelessJson(state.json), options.epochSec ?? null);
  const found = state.isStored ? undefined : session.findImage(key, diffIdsOf(state));
  const imageId = state.isStored ? state.parent : found;
  if (imageId !== undefined && (await named(session, imageId))) return imageId;
  if (diffIdsOf(state).length === 0 && (state.json['history'] as Json[]).length === 0)
    throw dockerfileError(
      session.context.dockerfile,
      1,
      'no image was generated: the Dockerfile has no instruction that makes one',
    );
  const made = { ...state.json, created: state.json['created'] ?? session.created };
  const stored = await commitState(
    options.store,
    { ...state, json: made },
    { key, layerFile, names: options.names },
  );
  return stored.parent;
}

/** Gives the names to an image of the store; false when it is not there any more. */
async function named({ options }: Session, imageId: string): Promise<boolean> {
  return options.store.update((draft) => {
    const image = draft.before.byId(imageId);
    if (image === undefined) return false;
    const { mediaType, digest, sizeBytes, platform } = image.entries[0]!.descriptor;
    const taggedAt = new Date().toISOString();
    for (const name of options.names)
      draft.add({
        mediaType,
        digest,
        sizeBytes,
        platform: platform ?? image.config.platform,
        name,
        taggedAt,
      });
    return true;
  });
}
