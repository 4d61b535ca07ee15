/** Every example of docker's page on `docker images` (docker/cli docs/reference/commandline/image_ls.md, 2026-08), on images that are what it shows. */
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { DocumentedStore, emptyLayer, normalised } from '../helpers/docker-docs.js';
import type { DocumentedImage } from '../helpers/docker-docs.js';
import { isLaminaBuilt } from '../helpers/lamina.js';
import { requirement } from '../helpers/require.js';

const able = requirement('the built command (npm run build)', isLaminaBuilt('native'));

/** A line of the page, what the page prints below it, and why that is otherwise today, where it is. */
interface Example {
  line: string;
  output: string;
  today?: { output: string; why: string };
  env?: Record<string, string>;
}

const HIDDEN = 'the page says above the example that untagged images are hidden without -a';

const MOST_RECENT = `
REPOSITORY                TAG                 IMAGE ID            CREATED             SIZE
<none>                    <none>              77af4d6b9913        19 hours ago        1.089 GB
committ                   latest              b6fa739cedf5        19 hours ago        1.089 GB
<none>                    <none>              78a85c484f71        19 hours ago        1.089 GB
docker                    latest              30557a29d5ab        20 hours ago        1.089 GB
<none>                    <none>              5ed6274db6ce        24 hours ago        1.089 GB
postgres                  9                   746b819f315e        4 days ago          213.4 MB
postgres                  9.3                 746b819f315e        4 days ago          213.4 MB
postgres                  9.3.5               746b819f315e        4 days ago          213.4 MB
postgres                  latest              746b819f315e        4 days ago          213.4 MB`;

const IDS = `
77af4d6b9913: <none>
b6fa739cedf5: committ
78a85c484f71: <none>
30557a29d5ab: docker
5ed6274db6ce: <none>
746b819f315e: postgres
746b819f315e: postgres
746b819f315e: postgres
746b819f315e: postgres`;

const TABLE = `
IMAGE ID            REPOSITORY                TAG
77af4d6b9913        <none>                    <none>
b6fa739cedf5        committ                   latest
78a85c484f71        <none>                    <none>
30557a29d5ab        docker                    latest
5ed6274db6ce        <none>                    <none>
746b819f315e        postgres                  9
746b819f315e        postgres                  9.3
746b819f315e        postgres                  9.3.5
746b819f315e        postgres                  latest`;

const NO_TRUNC = `
REPOSITORY                    TAG                 IMAGE ID                                                                  CREATED             SIZE
<none>                        <none>              sha256:77af4d6b9913e693e8d0b4b294fa62ade6054e6b2f1ffb617ac955dd63fb0182   19 hours ago        1.089 GB
committest                    latest              sha256:b6fa739cedf5ea12a620a439402b6004d057da800f91c7524b5086a5e4749c9f   19 hours ago        1.089 GB
<none>                        <none>              sha256:78a85c484f71509adeaace20e72e941f6bdd2b25b4c75da8693efd9f61a37921   19 hours ago        1.089 GB
docker                        latest              sha256:30557a29d5abc51e5f1d5b472e79b7e296f595abcf19fe6b9199dbbc809c6ff4   20 hours ago        1.089 GB
<none>                        <none>              sha256:0124422dd9f9cf7ef15c0617cda3931ee68346455441d66ab8bdc5b05e9fdce5   20 hours ago        1.089 GB
<none>                        <none>              sha256:18ad6fad340262ac2a636efd98a6d1f0ea775ae3d45240d3418466495a19a81b   22 hours ago        1.082 GB
<none>                        <none>              sha256:f9f1e26352f0a3ba6a0ff68167559f64f3e21ff7ada60366e2d44a04befd1d3a   23 hours ago        1.089 GB
tryout                        latest              sha256:2629d1fa0b81b222fca63371ca16cbf6a0772d07759ff80e8d1369b926940074   23 hours ago        131.5 MB
<none>                        <none>              sha256:5ed6274db6ceb2397844896966ea239290555e74ef307030ebb01ff91b1914df   24 hours ago        1.089 GB`;

const DANGLING = `
REPOSITORY          TAG                 IMAGE ID            CREATED             SIZE
<none>              <none>              8abc22fbb042        4 weeks ago         0 B
<none>              <none>              48e5f45168b9        4 weeks ago         2.489 MB
<none>              <none>              bf747efa0e2f        4 weeks ago         0 B
<none>              <none>              980fe10e5736        12 weeks ago        101.4 MB
<none>              <none>              dea752e4e117        12 weeks ago        101.4 MB
<none>              <none>              511136ea3c5a        8 months ago        0 B`;

/** The same without the lines of untagged images. */
const tagged = (text: string): string =>
  text
    .split('\n')
    .filter((line) => !line.includes('<none>'))
    .join('\n');

const hidden = (line: string, output: string): Example[] => [
  { line, output, today: { output: tagged(output), why: HIDDEN } },
  { line: line.replace('docker images', 'docker images -a'), output },
];

/** Of a table on the page: `REPOSITORY TAG IMAGE-ID CREATED SIZE`, newest first. */
function imagesOf(text: string): DocumentedImage[] {
  const images = new Map<string, DocumentedImage & { tags: string[] }>();
  for (const line of normalised(text).split('\n').slice(1)) {
    const [repository, tag, id, created] = line.split('  ') as [string, string, string, string];
    const short = id.replace('sha256:', '').slice(0, 12);
    const image = images.get(short) ?? {
      id: short,
      tags: [],
      age: created.replace(/ ago$/, ''),
      ...(line.endsWith('  0B') ? { layers: [emptyLayer(short)] } : {}),
    };
    if (repository !== '<none>') image.tags.push(`${repository}:${tag}`);
    images.set(short, image);
  }
  return [...images.values()];
}

const STORES: { name: string; images: readonly DocumentedImage[]; examples: readonly Example[] }[] = [
  {
    name: 'the most recently created images',
    images: imagesOf(MOST_RECENT),
    examples: [
      ...hidden('docker images', MOST_RECENT),
      ...hidden('docker images --format "{{.ID}}: {{.Repository}}"', IDS),
      ...hidden(String.raw`docker images --format "table {{.ID}}\t{{.Repository}}\t{{.Tag}}"`, TABLE),
      { line: 'docker image ls --all', output: MOST_RECENT },
      { line: 'docker image list -a', output: MOST_RECENT },
      {
        line: 'docker images -q postgres',
        output: '746b819f315e\n746b819f315e\n746b819f315e\n746b819f315e',
      },
    ],
  },
  {
    name: 'by name and tag',
    images: [
      { id: '308e519aac60', tags: ['java:8'], age: '6 days' },
      { id: '493d82594c15', tags: ['java:7'], age: '3 months' },
      { id: '2711b1d6f3aa', tags: ['java:latest'], age: '5 months' },
      { id: '111111111111', tags: ['other:8'], age: '1 days' },
    ],
    examples: [
      {
        line: 'docker images java',
        output: `
REPOSITORY          TAG                 IMAGE ID            CREATED             SIZE
java                8                   308e519aac60        6 days ago          824.5 MB
java                7                   493d82594c15        3 months ago        656.3 MB
java                latest              2711b1d6f3aa        5 months ago        603.9 MB`,
      },
      {
        line: 'docker images java:8',
        output: `
REPOSITORY          TAG                 IMAGE ID            CREATED             SIZE
java                8                   308e519aac60        6 days ago          824.5 MB`,
      },
      {
        line: 'docker images java:0',
        output: `
REPOSITORY          TAG                 IMAGE ID            CREATED             SIZE`,
      },
      {
        line: 'docker images jav',
        output: `
REPOSITORY          TAG                 IMAGE ID            CREATED             SIZE`,
      },
    ],
  },
  {
    name: 'full IDs',
    images: imagesOf(NO_TRUNC),
    examples: hidden('docker images --no-trunc', NO_TRUNC),
  },
  {
    name: 'digests',
    images: [
      {
        id: '4986bf8c1536',
        tags: [],
        age: '9 weeks',
        digests: [
          'localhost:5000/test/busybox@sha256:cbbf2f9a99b47fc460d422812b6a5adff7dfee951d8fa2e4a98caa0382cfbdbf',
        ],
      },
    ],
    examples: [
      {
        line: 'docker images --digests',
        output: `
REPOSITORY                         TAG                 DIGEST                                                                    IMAGE ID            CREATED             SIZE
localhost:5000/test/busybox        <none>              sha256:cbbf2f9a99b47fc460d422812b6a5adff7dfee951d8fa2e4a98caa0382cfbdbf   4986bf8c1536        9 weeks ago         2.43 MB`,
      },
      {
        line: 'docker images',
        output: `
REPOSITORY                    TAG       IMAGE ID       CREATED        SIZE
localhost:5000/test/busybox   <none>    4986bf8c1536   2 months ago   2.43MB`,
      },
      {
        line: 'docker images --format "{{.Repository}}@{{.Digest}}"',
        output:
          'localhost:5000/test/busybox@sha256:cbbf2f9a99b47fc460d422812b6a5adff7dfee951d8fa2e4a98caa0382cfbdbf',
      },
    ],
  },
  {
    name: 'untagged images',
    images: [...imagesOf(DANGLING), { id: '222222222222', tags: ['tagged:1'], age: '2 days' }],
    examples: [
      { line: 'docker images --filter "dangling=true"', output: DANGLING },
      {
        line: 'docker images -f "dangling=true" -q',
        output: '8abc22fbb042\n48e5f45168b9\nbf747efa0e2f\n980fe10e5736\ndea752e4e117\n511136ea3c5a',
      },
      {
        line: 'docker images --filter dangling=false --format "{{.Repository}}"',
        output: 'tagged',
      },
    ],
  },
  {
    name: 'labels',
    images: [
      {
        id: 'eeae25ada2aa',
        tags: ['match-me-1:latest'],
        age: 'About a minute',
        labels: { 'com.example.version': '0.9' },
      },
      {
        id: 'dea752e4e117',
        tags: ['match-me-2:latest'],
        age: 'About a minute',
        labels: { 'com.example.version': '1.1', other: 'x' },
      },
      { id: '333333333333', tags: ['unlabelled:latest'], age: 'About a minute', labels: { other: 'x' } },
    ],
    examples: [
      {
        line: 'docker images --filter "label=com.example.version"',
        output: `
REPOSITORY          TAG                 IMAGE ID            CREATED              SIZE
match-me-1          latest              eeae25ada2aa        About a minute ago   188.3 MB
match-me-2          latest              dea752e4e117        About a minute ago   188.3 MB`,
      },
      {
        line: 'docker images --filter "label=com.example.version=0.1"',
        output: `
REPOSITORY          TAG                 IMAGE ID            CREATED              SIZE`,
      },
      {
        line: 'docker images --filter label=com.example.version --filter label=other=x --format {{.Repository}}',
        output: 'match-me-2',
      },
    ],
  },
  {
    name: 'a label with its value',
    images: [
      {
        id: '511136ea3c5a',
        tags: ['match-me:latest'],
        age: 'About a minute',
        labels: { 'com.example.version': '1.0' },
      },
      {
        id: '444444444444',
        tags: ['not-me:latest'],
        age: '1 hour',
        labels: { 'com.example.version': '1.0.1' },
      },
    ],
    examples: [
      {
        line: 'docker images --filter "label=com.example.version=1.0"',
        output: `
REPOSITORY          TAG                 IMAGE ID            CREATED              SIZE
match-me            latest              511136ea3c5a        About a minute ago   188.3 MB`,
      },
    ],
  },
  {
    name: 'by time',
    images: [
      { id: 'eeae25ada2aa', tags: ['image1:latest'], age: '4 minutes' },
      { id: 'dea752e4e117', tags: ['image2:latest'], age: '9 minutes' },
      { id: '511136ea3c5a', tags: ['image3:latest'], age: '25 minutes' },
    ],
    examples: [
      {
        line: 'docker images',
        output: `
REPOSITORY          TAG                 IMAGE ID            CREATED              SIZE
image1              latest              eeae25ada2aa        4 minutes ago        188.3 MB
image2              latest              dea752e4e117        9 minutes ago        188.3 MB
image3              latest              511136ea3c5a        25 minutes ago       188.3 MB`,
      },
      ...['image1', 'image1:latest', 'eeae25ada2aa'].map((name) => ({
        line: `docker images --filter "before=${name}"`,
        output: `
REPOSITORY          TAG                 IMAGE ID            CREATED              SIZE
image2              latest              dea752e4e117        9 minutes ago        188.3 MB
image3              latest              511136ea3c5a        25 minutes ago       188.3 MB`,
      })),
      {
        line: 'docker images --filter "since=image3"',
        output: `
REPOSITORY          TAG                 IMAGE ID            CREATED              SIZE
image1              latest              eeae25ada2aa        4 minutes ago        188.3 MB
image2              latest              dea752e4e117        9 minutes ago        188.3 MB`,
      },
      {
        line: 'docker images --filter until=8m --format {{.Repository}}',
        output: 'image2\nimage3',
      },
    ],
  },
  {
    name: 'by reference',
    images: [
      { id: 'e02e811dd08f', tags: ['busybox:latest', 'busybox:uclibc'], age: '5 weeks' },
      { id: '733eb3059dce', tags: ['busybox:musl'], age: '5 weeks' },
      { id: '21c16b6787c6', tags: ['busybox:glibc'], age: '5 weeks' },
    ],
    examples: [
      {
        line: 'docker images',
        output: `
REPOSITORY          TAG                 IMAGE ID            CREATED             SIZE
busybox             latest              e02e811dd08f        5 weeks ago         1.09 MB
busybox             uclibc              e02e811dd08f        5 weeks ago         1.09 MB
busybox             musl                733eb3059dce        5 weeks ago         1.21 MB
busybox             glibc               21c16b6787c6        5 weeks ago         4.19 MB`,
      },
      ...[
        "--filter=reference='busy*:*libc'",
        "--filter=reference='busy*:uclibc' --filter=reference='busy*:glibc'",
      ].map((filter) => ({
        line: `docker images ${filter}`,
        output: `
REPOSITORY          TAG                 IMAGE ID            CREATED             SIZE
busybox             uclibc              e02e811dd08f        5 weeks ago         1.09 MB
busybox             glibc               21c16b6787c6        5 weeks ago         4.19 MB`,
      })),
    ],
  },
  {
    name: 'as JSON',
    images: [
      { id: '4dd97cefde62', tags: ['ubuntu:latest'], created: '2021-03-04T02:24:42.5Z' },
      { id: '28f6e2705743', tags: ['alpine:latest'], created: '2021-02-17T21:19:54Z' },
    ],
    examples: [
      {
        line: 'docker images --format json',
        env: { TZ: 'Europe/Paris' },
        output: String.raw`
{"Containers":"N/A","CreatedAt":"2021-03-04 03:24:42 +0100 CET","CreatedSince":"5 days ago","Digest":"\u003cnone\u003e","ID":"4dd97cefde62","Repository":"ubuntu","SharedSize":"N/A","Size":"72.9MB","Tag":"latest","UniqueSize":"N/A"}
{"Containers":"N/A","CreatedAt":"2021-02-17 22:19:54 +0100 CET","CreatedSince":"2 weeks ago","Digest":"\u003cnone\u003e","ID":"28f6e2705743","Repository":"alpine","SharedSize":"N/A","Size":"5.61MB","Tag":"latest","UniqueSize":"N/A"}`,
      },
    ],
  },
];

describe.skipIf(!able)('docker images, as documented', () => {
  describe.each(STORES)('$name', ({ images, examples }) => {
    let store: DocumentedStore;
    beforeAll(async () => {
      store = new DocumentedStore();
      await store.load(...images);
    });
    afterAll(() => store.close());

    test.each(examples)('$line', async ({ line, output, today, env }) => {
      const { exitCode, stdout, stderr } = await store.run(line, env);
      expect([exitCode, stderr]).toEqual([0, '']);
      // How long ago that was when the page was written.
      const ageless = (text: string): string => text.replaceAll(/"CreatedSince":"[^"]*"/g, '');
      expect(ageless(normalised(stdout))).toBe(ageless(store.expected(today?.output ?? output)));
    });
  });
});
