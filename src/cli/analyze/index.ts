/** `lamina analyze IMAGE`: what each layer adds, changes and hides, and what is stored for nothing. */
import type { Command } from 'commander';
import { LaminaError } from '../../errors.js';
import { imageCommand, readImage } from '../fs/image.js';
import type { JsonFlags } from '../fs/image.js';

export interface AnalyzeFlags extends JsonFlags {
  ci?: boolean;
  ciConfig?: string;
  lowestEfficiency?: string;
  highestWastedBytes?: string;
  highestUserWastedPercent?: string;
  layer?: string;
  top: string;
}

const RULE = '(with --ci)';

export function register(program: Command): void {
  imageCommand(program, 'analyze', 'Show what the layers of an image change, hide and waste')
    .option('--ci', "Check dive's rules, print pass or fail, and exit with 1 on failure")
    .option(
      '--ci-config <string>',
      `File with a section "rules" ${RULE} (default ".dive-ci", if it is there)`,
    )
    .option(
      '--highestUserWastedPercent <ratio>',
      `Most bytes wasted of those that layers above the first add ${RULE} (default 0.1)`,
    )
    .option('--highestWastedBytes <size>', `Most bytes wasted ${RULE} (default "disabled")`)
    .option('--json', 'Print in dive\'s JSON format, with more under "lamina"')
    .option('--layer <number>', 'Show the tree of what one layer changes; the bottom layer is 0')
    .option('--lowestEfficiency <ratio>', `Lowest score ${RULE} (default 0.9)`)
    .option('--top <number>', 'Most lines of each list', '20')
    .action(async (image: string, flags: AnalyzeFlags) => {
      const top = wholeNumber(flags.top, '--top');
      const layer = flags.layer === undefined ? undefined : wholeNumber(flags.layer, '--layer');
      if (layer !== undefined && flags.ci === true)
        throw new LaminaError('EUSAGE', '--layer and --ci cannot be used together');
      const rules = flags.ci === true ? await (await import('./ci.js')).readRules(flags) : undefined;
      await readImage(image, flags, async ({ opened, out }) => {
        const { analyzeOpened } = await import('../../image/analyze/analyze.js');
        const analysis = analyzeOpened(opened);
        const isJson = flags.json === true;
        if (layer !== undefined) {
          if (layer >= analysis.layers.length)
            throw new LaminaError(
              'EUSAGE',
              `the image has no layer ${layer}; its layers are 0 to ${analysis.layers.length - 1}`,
            );
          const { printLayerJson, printLayerTree } = await import('./layer-tree.js');
          await (isJson ? printLayerJson : printLayerTree)(analysis, layer, opened, out);
        } else if (rules !== undefined) {
          const { printCi } = await import('./ci.js');
          if (!(await printCi(analysis, rules, isJson, out))) process.exitCode = 1;
        } else if (isJson) await (await import('./json.js')).printJson(analysis, out);
        else await (await import('./report.js')).printReport(analysis, opened, top, out);
      });
    });
}

function wholeNumber(text: string, flag: string): number {
  if (!/^\d{1,9}$/.test(text)) throw new LaminaError('EUSAGE', `invalid number "${text}" for ${flag}`);
  return Number(text);
}
