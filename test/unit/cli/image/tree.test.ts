/** The tree of images, held to docker/cli's golden files (cli/command/image/testdata/tree-command-success.*.golden, 28f7560). */
import { describe, expect, test } from 'vitest';
import { formatTree } from '../../../../src/cli/image/tree.js';
import type { TreeDetails, TreeImage } from '../../../../src/cli/image/tree.js';

const plain = (_: string, text: string): string => text;
const details = (digit: string, diskUsage: string, contentSize: string, isUsed = false): TreeDetails => ({
  ...{ id: digit.repeat(12 / digit.length), diskUsage, contentSize, isUsed },
});
const top = (names: string[], own: TreeDetails, ...children: TreeImage['children']): TreeImage => ({
  ...{ names, children },
  ...own,
});

/** Spaces at the ends of lines are docker's. */
const lines = (...text: string[]): string => text.map((line) => `${line}\n`).join('');

describe('images --tree', () => {
  test('width-calculation-untagged, sorted as docker sorts before it prints', () => {
    const images = [
      top(['a:1'], details('1', '5.5 MB', '2.5 MB')),
      top([], details('2', '3.2 MB', '1.6 MB')),
      top(['short:v1'], details('3', '7.1 MB', '3.5 MB', true)),
    ];
    expect(formatTree(images, 0, plain)).toBe(
      lines(
        'IMAGE        ID             DISK USAGE   CONTENT SIZE   EXTRA',
        'a:1          111111111111       5.5 MB         2.5 MB        ',
        'short:v1     333333333333       7.1 MB         3.5 MB   U    ',
        '<untagged>   222222222222       3.2 MB         1.6 MB        ',
      ),
    );
  });

  test('expanded-view-with-platforms', () => {
    const image = top(
      ['multiplatform:latest'],
      details('a', '25.5 MB', '20.2 MB', true),
      { platform: 'linux/amd64', ...details('b', '12.1 MB', '10.0 MB') },
      { platform: 'linux/arm64', ...details('c', '13.4 MB', '10.2 MB', true) },
    );
    expect(formatTree([image], 0, plain)).toBe(
      lines(
        'IMAGE                  ID             DISK USAGE   CONTENT SIZE   EXTRA',
        'multiplatform:latest   aaaaaaaaaaaa      25.5 MB        20.2 MB   U    ',
        '├─ linux/amd64         bbbbbbbbbbbb      12.1 MB        10.0 MB        ',
        '└─ linux/arm64         cccccccccccc      13.4 MB        10.2 MB   U    ',
        '',
      ),
    );
  });

  test('mixed-tagged-untagged-with-children, names and images in their order', () => {
    const images = [
      top(['app:latest', 'app:v1'], details('10', '30.5 MB', '25.2 MB', true), {
        ...{ platform: 'linux/amd64' },
        ...details('20', '15.2 MB', '12.6 MB', true),
      }),
      top([], details('30', '12.3 MB', '10.1 MB'), {
        ...{ platform: 'linux/arm/v7' },
        ...details('40', '6.1 MB', '5.0 MB'),
      }),
      top(['base:alpine'], details('50', '5.5 MB', '5.5 MB')),
    ];
    expect(formatTree(images, 0, plain)).toBe(
      lines(
        'IMAGE                 ID             DISK USAGE   CONTENT SIZE   EXTRA',
        'app:latest         ',
        'app:v1                101010101010      30.5 MB        25.2 MB   U    ',
        '└─ linux/amd64        202020202020      15.2 MB        12.6 MB   U    ',
        '',
        'base:alpine           505050505050       5.5 MB         5.5 MB        ',
        '',
        '<untagged>            303030303030      12.3 MB        10.1 MB        ',
        '└─ linux/arm/v7       404040404040       6.1 MB         5.0 MB        ',
        '',
      ),
    );
  });

  test('untagged-with-platforms', () => {
    const image = top(
      [],
      details('d', '18.5 MB', '15.2 MB'),
      { platform: 'linux/amd64', ...details('e', '9.2 MB', '7.6 MB') },
      { platform: 'linux/arm64', ...details('f', '9.3 MB', '7.6 MB') },
    );
    expect(formatTree([image], 0, plain)).toBe(
      lines(
        'IMAGE                ID             DISK USAGE   CONTENT SIZE   EXTRA',
        '<untagged>           dddddddddddd      18.5 MB        15.2 MB        ',
        '├─ linux/amd64       eeeeeeeeeeee       9.2 MB         7.6 MB        ',
        '└─ linux/arm64       ffffffffffff       9.3 MB         7.6 MB        ',
        '',
      ),
    );
  });

  test('on a narrow terminal columns go from the right, and a long name has a line of its own', () => {
    const image = top(['a-name-of-some-length:latest'], details('1', '5.5 MB', '2.5 MB', true));
    expect(formatTree([image], 40, plain)).toBe(
      lines(
        '                    i Info →   U  In Use',
        'IMAGE          ID             DISK USAGE',
        'a-name-of-some-length:latest',
        '               111111111111       5.5 MB',
      ),
    );
  });
});
