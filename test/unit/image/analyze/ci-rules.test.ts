/** dive's rules: cases of its rules_test.go and evaluator_test.go, and sizes as go-humanize documents them. */
import { describe, expect, test } from 'vitest';
import { humanizeBytes } from '../../../../src/cli/analyze/ci.js';
import { evaluateRules } from '../../../../src/image/analyze/ci-rules.js';
import type { Efficiency } from '../../../../src/image/analyze/efficiency.js';

/** Of dive's test image, from its image_archive_analysis_test.go. */
const IMAGE: Efficiency = {
  score: 0.9844212134184309,
  sizeBytes: 1220598,
  userSizeBytes: 66237,
  wastedBytes: 32025,
  wastedUserPercent: 0.4834911001404049,
  inefficientFiles: [],
};

function statuses(
  lowestEfficiency: string,
  highestWastedBytes: string,
  highestUserWastedPercent: string,
): object {
  const results = evaluateRules(IMAGE, { lowestEfficiency, highestWastedBytes, highestUserWastedPercent });
  return Object.fromEntries(results.map(({ rule, status }) => [rule, status]));
}

describe('rules', () => {
  test.each([
    ['allFail', ['0.99', '1B', '0.01'], ['FAIL', 'FAIL', 'FAIL']],
    ['allPass', ['0.9', '50kB', '0.5'], ['PASS', 'PASS', 'PASS']],
    ['allDisabled', ['disabled', 'disabled', 'disabled'], ['SKIP', 'SKIP', 'SKIP']],
    ['mixedResults', ['0.9', '1B', '0.5'], ['PASS', 'FAIL', 'PASS']],
    ['other words for disabled', ['off', '', ' FALSE '], ['SKIP', 'SKIP', 'SKIP']],
    ['met exactly', ['0.9844212134184309', '32025', '0.4834911001404049'], ['PASS', 'PASS', 'PASS']],
  ])('%s', (_, [efficiency, bytes, percent], [first, second, third]) => {
    expect(statuses(efficiency!, bytes!, percent!)).toEqual({
      lowestEfficiency: first,
      highestWastedBytes: second,
      highestUserWastedPercent: third,
    });
  });

  test.each([
    ['32024', 'FAIL'],
    ['32.025kB', 'PASS'],
    ['32kB', 'FAIL'],
    ['32 KB', 'FAIL'],
    ['32KiB', 'PASS'],
    ['31.2Ki', 'FAIL'],
    ['32,025', 'PASS'],
    ['1m', 'PASS'],
    ['0.03MB', 'FAIL'],
    ['1GiB', 'PASS'],
  ])('highestWastedBytes %s: %s', (written, status) => {
    expect(statuses('off', written, 'off')).toMatchObject({ highestWastedBytes: status });
  });

  test.each([
    ['lowestEfficiency', ['x', '1B', '0.1']],
    ['lowestEfficiency', ['1.1', '1B', '0.1']],
    ['lowestEfficiency', ['90%', '1B', '0.1']],
    ['highestWastedBytes', ['0.9', 'many', '0.1']],
    ['highestWastedBytes', ['0.9', '1XB', '0.1']],
    ['highestWastedBytes', ['0.9', '1.2.3kB', '0.1']],
    ['highestUserWastedPercent', ['0.9', '1B', '-1']],
  ])('%s is refused: %j', (rule, [efficiency, bytes, percent]) => {
    expect(() => statuses(efficiency!, bytes!, percent!)).toThrow(
      expect.objectContaining({
        code: 'EUSAGE',
        message: expect.stringContaining(`invalid ${rule} config value`),
      }),
    );
  });

  test('an image of one layer: nothing wasted passes', () => {
    const one = { ...IMAGE, wastedBytes: 0, userSizeBytes: 0, wastedUserPercent: NaN };
    const [percent] = evaluateRules(one, {
      lowestEfficiency: 'off',
      highestWastedBytes: 'off',
      highestUserWastedPercent: '0.1',
    });
    expect(percent).toMatchObject({ rule: 'highestUserWastedPercent', status: 'PASS' });
  });
});

/** github.com/dustin/go-humanize, bytes_test.go (TestBytes). */
test.each([
  [0, '0 B'],
  [1, '1 B'],
  [803, '803 B'],
  [999, '999 B'],
  [1024, '1.0 kB'],
  [9999, '10 kB'],
  [999999, '1000 kB'],
  [1000000, '1.0 MB'],
  [9999999, '10 MB'],
  [1000 ** 3 - 1024, '1000 MB'],
  [1000 ** 3, '1.0 GB'],
  [5.5 * 1000 ** 3, '5.5 GB'],
  [1000 ** 4, '1.0 TB'],
])('%d bytes are %s', (sizeBytes, expected) => {
  expect(humanizeBytes(sizeBytes)).toBe(expected);
});
