/**
 * The examples of docker's pages on removing (docker/cli docs/reference/commandline/{image_rm,image_prune,container_prune,system_prune}.md, 2026-08).
 * The steps of a page are taken in their order, in one store.
 */
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { DocumentedStore, normalised, someLayers } from '../helpers/docker-docs.js';
import { isLaminaBuilt } from '../helpers/lamina.js';
import { requirement } from '../helpers/require.js';

const able = requirement('the built command (npm run build)', isLaminaBuilt('native'));

describe.skipIf(!able)('removing, as documented', () => {
  let store: DocumentedStore;
  beforeEach(() => {
    store = new DocumentedStore();
  });
  afterEach(() => store.close());

  /** Runs a line of the page and compares what it prints. `exitCode` 0 means that nothing is on standard error. */
  async function step(
    line: string,
    output: string,
    input = '',
    env: Record<string, string> = {},
  ): Promise<void> {
    const { exitCode, stdout, stderr } = await store.run(line, env, input);
    expect([line, exitCode, stderr]).toEqual([line, 0, '']);
    expect(normalised(stdout)).toBe(store.expected(output));
  }

  /** As step(), where docker removes in no order that it promises: lines are compared as a set. */
  async function stepInAnyOrder(line: string, output: string, input = ''): Promise<void> {
    const { exitCode, stdout, stderr } = await store.run(line, {}, input);
    expect([line, exitCode, stderr]).toEqual([line, 0, '']);
    const sorted = (text: string): string[] => text.split('\n').sort();
    expect(sorted(normalised(stdout))).toEqual(sorted(store.expected(output)));
  }

  async function refused(line: string, message: string, status = 1): Promise<void> {
    const { exitCode, stdout, stderr } = await store.run(line);
    expect([line, exitCode, stdout]).toEqual([line, status, '']);
    expect(stderr).toContain(store.expected(message));
  }

  describe('rmi', () => {
    const testImages = (): Promise<void> =>
      store.load({
        id: 'fd484f19954f',
        tags: ['test1:latest', 'test:latest', 'test2:latest'],
        age: '23 seconds',
        chains: ['cccccccccccc'],
      });
    /** The page's is from before layers had IDs of their own. */
    const layer = 'Deleted: sha256:cccccccccccc0000000000000000000000000000000000000000000000000000';

    test('by each of its tags', async () => {
      await testImages();
      // Names are sorted as a whole, with their tags, as docker's reference store does; the page's order is from before that.
      await stepInAnyOrder(
        'docker images',
        `
REPOSITORY                TAG                 IMAGE ID            CREATED             SIZE
test                      latest              fd484f19954f        23 seconds ago      7 B (virtual 4.964 MB)
test1                     latest              fd484f19954f        23 seconds ago      7 B (virtual 4.964 MB)
test2                     latest              fd484f19954f        23 seconds ago      7 B (virtual 4.964 MB)`,
      );
      // "Error: Conflict, cannot delete image fd484f19954f because it is tagged in multiple repositories, use -f to force" in 2013.
      // Today's words: moby daemon/images/image_delete.go, as are those of the other conflicts.
      await refused(
        'docker rmi fd484f19954f',
        'conflict: unable to delete fd484f19954f (must be forced) - image is referenced in multiple repositories',
      );
      await step('docker rmi test1:latest', 'Untagged: test1:latest');
      await step('docker rmi test2:latest', 'Untagged: test2:latest');
      await step(
        'docker images',
        `
REPOSITORY                TAG                 IMAGE ID            CREATED             SIZE
test                      latest              fd484f19954f        23 seconds ago      7 B (virtual 4.964 MB)`,
      );
      await step(
        'docker rmi test:latest',
        `
Untagged: test:latest
Deleted: sha256:fd484f19954f4920da7ff372b5067f5b7ddb2fd3830cecd17b96ea9e286ba5b8
${layer}`,
      );
      await refused('docker rmi test:latest', 'No such image: test:latest');
      await refused('docker image rm test', 'No such image: test:latest');
    });

    test.each(['fd484f19954f', 'fd484f19954f4920da7ff372b5067f5b7ddb2fd3830cecd17b96ea9e286ba5b8'])(
      'by the ID %s, by force',
      async (id) => {
        await testImages();
        await stepInAnyOrder(
          `docker rmi -f ${id}`,
          `
Untagged: test1:latest
Untagged: test:latest
Untagged: test2:latest
Deleted: sha256:fd484f19954f4920da7ff372b5067f5b7ddb2fd3830cecd17b96ea9e286ba5b8
${layer}`,
        );
        await step('docker images -aq', '');
      },
    );

    test('by its digest', async () => {
      const digest = 'sha256:cbbf2f9a99b47fc460d422812b6a5adff7dfee951d8fa2e4a98caa0382cfbdbf';
      await store.load({
        id: '4986bf8c1536',
        tags: [],
        age: '9 weeks',
        layers: someLayers('busybox', 2),
        chains: ['ea13149945cb', 'df7546f9f060'],
        digests: [`localhost:5000/test/busybox@${digest}`],
      });
      await step(
        'docker images --digests',
        `
REPOSITORY                     TAG       DIGEST                                                                    IMAGE ID        CREATED         SIZE
localhost:5000/test/busybox    <none>    ${digest}   4986bf8c1536    9 weeks ago     2.43 MB`,
      );
      await step(
        `docker rmi localhost:5000/test/busybox@${digest}`,
        `
Untagged: localhost:5000/test/busybox@${digest}
Deleted: sha256:4986bf8c15363d1c5d15512d5266f8777bfba4974ac56e3270e7760f6f0a8125
Deleted: sha256:ea13149945cb6b1e746bf28032f02e9b5a793523481a0a18645fc77ad53c4ea2
Deleted: sha256:df7546f9f060a2268024c8a230d8639878585defcc1bc6f79d2728a13957871b`,
      );
    });

    test('digests go with the last tag of their repository ("removed automatically when an image is removed by tag")', async () => {
      const digest = 'sha256:cbbf2f9a99b47fc460d422812b6a5adff7dfee951d8fa2e4a98caa0382cfbdbf';
      await store.load({
        id: '4986bf8c1536',
        tags: ['busybox:1', 'busybox:2', 'other:1'],
        digests: [`busybox@${digest}`],
      });
      await step('docker rmi busybox:1', 'Untagged: busybox:1');
      await step('docker rmi busybox:2', `Untagged: busybox:2\nUntagged: busybox@${digest}`);
      await step('docker images --format "{{.Repository}}:{{.Tag}}"', 'other:1');
    });

    test('what docker images -f "dangling=true" -q lists', async () => {
      await store.load(
        { id: '8abc22fbb042', tags: [], chains: ['aaaaaaaaaaaa'] },
        { id: '48e5f45168b9', tags: [], chains: ['bbbbbbbbbbbb'] },
        { id: '980fe10e5736', tags: ['kept:1'] },
      );
      // The page (image_ls.md) shows the output of docker before 1.10: the IDs alone.
      await step(
        'docker rmi $(docker images -f "dangling=true" -q)',
        `
Deleted: sha256:8abc22fbb0420000000000000000000000000000000000000000000000000000
Deleted: sha256:aaaaaaaaaaaa0000000000000000000000000000000000000000000000000000
Deleted: sha256:48e5f45168b90000000000000000000000000000000000000000000000000000
Deleted: sha256:bbbbbbbbbbbb0000000000000000000000000000000000000000000000000000`,
      );
      await step('docker images -a --format {{.Repository}}', 'kept');
    });

    test('refuses while a container exists, and while an image was made from it', async () => {
      await store.load({ id: 'fd484f19954f', tags: ['test:latest'], chains: ['cccccccccccc'] });
      store.means('4a7f7eebae0f', (await store.run('docker create --name holder test')).stdout.trim());
      await refused(
        'docker rmi fd484f19954f',
        'conflict: unable to delete fd484f19954f (must be forced) - image is being used by stopped container 4a7f7eebae0f',
      );
      await refused(
        'docker rmi test',
        'conflict: unable to remove repository reference "test" (must force) - container 4a7f7eebae0f is using its referenced image fd484f19954f',
      );
      await step('echo more > more && docker cp -q more holder:/more', '');
      store.means('b6fa739cedf5', (await store.run('docker commit holder child')).stdout.trim());
      await step('docker rm holder', 'holder');
      await refused(
        'docker rmi fd484f19954f',
        'conflict: unable to delete fd484f19954f (cannot be forced) - image has dependent child images',
      );
      await refused(
        'docker rmi -f fd484f19954f',
        'conflict: unable to delete fd484f19954f (cannot be forced) - image has dependent child images',
      );
      // Its name goes; the image is an intermediate one then, which images -a lists, and goes with its last child.
      await step('docker rmi test', 'Untagged: test:latest');
      await step('docker images -q', 'b6fa739cedf5');
      await step('docker images -aq', 'b6fa739cedf5\nfd484f19954f');
      await step('docker images -q -f dangling=true', '');
      const { stdout } = await store.run('docker rmi child');
      expect(normalised(stdout)).toMatch(
        new RegExp(
          store.expected(
            '^Untagged: child:latest\nDeleted: sha256:b6fa739cedf5\\w+\nDeleted: sha256:\\w+\nDeleted: sha256:fd484f19954f\\w+\nDeleted: sha256:cccccccccccc\\w+$',
          ),
        ),
      );
      await step('docker images -aq', '');
    });

    test('--no-prune leaves parents; several images by one line, of which some are not there', async () => {
      await store.load({ id: 'fd484f19954f', tags: ['test:latest'] }, { id: '4986bf8c1536', tags: ['a:1'] });
      await store.run('docker create --name holder test');
      await store.run('docker commit holder child && docker rm holder && docker rmi test');
      expect((await store.run('docker rmi --no-prune child')).exitCode).toBe(0);
      await step('docker images -aq', 'fd484f19954f\n4986bf8c1536');
      const { exitCode, stdout, stderr } = await store.run('docker rmi nope a:1 neither');
      expect([exitCode, stdout.split('\n')[0]]).toEqual([1, 'Untagged: a:1']);
      expect(stderr).toContain('No such image: nope:latest');
      expect(stderr).toContain('No such image: neither:latest');
      // docker/cli testdata "Image not found with force option"
      expect(await store.run('docker rmi -f image1')).toMatchObject({
        exitCode: 0,
        stdout: '',
        stderr: 'Error: No such image: image1:latest\n',
      });
    });
  });

  describe('image prune', () => {
    test('-a, after the question', async () => {
      const base = someLayers('alpine-3.3', 1);
      await store.load(
        {
          id: '4e38e38c8ce0',
          tags: ['alpine:latest'],
          age: '9 weeks',
          chains: ['4fe15f8d0ae6'],
          digests: ['alpine@sha256:3dcdb92d7432d56604d4545cbd324b14e647b313626d99b889d0626de158f73a'],
        },
        {
          id: '47cf20d8c26c',
          tags: ['alpine:3.3'],
          age: '9 weeks',
          layers: base,
          chains: ['2c675ee9ed53'],
          digests: ['alpine@sha256:4fa633f4feff6a8f02acfc7424efd5cb3e76686ed3218abf4ca0fa4a2a358423'],
        },
        {
          id: 'ae67841be6d0',
          tags: ['my-jq:latest'],
          age: '6 minutes',
          parent: '47cf20d8c26c',
          layers: [...base, ...someLayers('jq', 2)],
          chains: ['34f6f1261650', 'cf4194e8d8db'],
        },
        {
          id: 'b2789dd875bf',
          tags: ['my-curl:latest'],
          age: '6 minutes',
          parent: '47cf20d8c26c',
          layers: [...base, ...someLayers('curl', 10)],
          chains: [
            ...['96daac0cb203', '5cbd97a14241', 'a0971c4015c1', 'd8359ca3b681', '83fc9ba8fb70'],
            ...['ae7041a4cc62', '35e0f43a3775', '0af941dd29f0', '9fc896fc2013'],
          ],
        },
      );
      // The page lists ten layers of my-curl, one of them by an ID that an image had at that time.
      const images = await store.run('docker image prune -a', {}, 'y\n');
      expect(images.exitCode).toBe(0);
      const page = `
WARNING! This will remove all images without at least one container associated to them.
Are you sure you want to continue? [y/N] Deleted Images:
untagged: alpine:latest
untagged: alpine@sha256:3dcdb92d7432d56604d4545cbd324b14e647b313626d99b889d0626de158f73a
deleted: sha256:4e38e38c8ce0b8d9041a9c4fefe786631d1416225e13b0bfe8cfa2321aec4bba
deleted: sha256:4fe15f8d0ae69e169824f25f1d4da3015a48feeeeebb265cd2e328e15c6a869f
untagged: alpine:3.3
untagged: alpine@sha256:4fa633f4feff6a8f02acfc7424efd5cb3e76686ed3218abf4ca0fa4a2a358423
untagged: my-jq:latest
deleted: sha256:ae67841be6d008a374eff7c2a974cde3934ffe9536a7dc7ce589585eddd83aff
deleted: sha256:34f6f1261650bc341eb122313372adc4512b4fceddc2a7ecbb84f0958ce5ad65
deleted: sha256:cf4194e8d8db1cb2d117df33f2c75c0369c3a26d96725efb978cc69e046b87e7
untagged: my-curl:latest
deleted: sha256:b2789dd875bf427de7f9f6ae001940073b3201409b14aba7e5db71f408b8569e
deleted: sha256:96daac0cb203226438989926fc34dd024f365a9a8616b93e168d303cfe4cb5e9
deleted: sha256:5cbd97a14241c9cd83250d6b6fc0649833c4a3e84099b968dd4ba403e609945e
deleted: sha256:a0971c4015c1e898c60bf95781c6730a05b5d8a2ae6827f53837e6c9d38efdec
deleted: sha256:d8359ca3b681cc5396a4e790088441673ed3ce90ebc04de388bfcd31a0716b06
deleted: sha256:83fc9ba8fb70e1da31dfcc3c88d093831dbd4be38b34af998df37e8ac538260c
deleted: sha256:ae7041a4cc625a9c8e6955452f7afe602b401f662671cea3613f08f3d9343b35
deleted: sha256:35e0f43a37755b832f0bbea91a2360b025ee351d7309dae0d9737bc96b6d0809
deleted: sha256:0af941dd29f00e4510195dd00b19671bc591e29d1495630e7e0f7c44c1e6a8c0
deleted: sha256:9fc896fc2013da84f84e45b3096053eb084417b42e6b35ea0cce5a3529705eac
deleted: sha256:47cf20d8c26c46fff71be614d9f54997edacfe8d46d51769706e5aba94b16f2b
deleted: sha256:2c675ee9ed53425e31a13e3390bf3f539bf8637000e4bcfbb85ee03ef4d910a1

Total reclaimed space: 16.43 MB`;
      const tenth = images.stdout.split('\n').length - page.split('\n').length;
      expect(tenth).toBe(1);
      const sorted = (text: string): string[] => text.split('\n').sort();
      const own = sorted(normalised(images.stdout));
      for (const line of sorted(store.expected(page))) expect(own).toContain(line);
    });

    test('--filter until=, a date', async () => {
      const env = { TZ: 'America/Los_Angeles' };
      const alpine = someLayers('alpine', 1);
      await store.load(
        {
          id: '88e169ea8f46',
          tags: ['alpine:latest'],
          created: '2016-12-27T18:17:25Z',
          layers: alpine,
          digests: ['alpine@sha256:dfbd4a3a8ebca874ebd2474f044a0b33600d4523d03b0df76e5c5986cb02d7e8'],
        },
        {
          id: '2f287ac753da',
          tags: ['foo:latest'],
          created: '2017-01-04T21:42:23Z',
          parent: '88e169ea8f46',
          layers: [...alpine, ...someLayers('foo', 1)],
        },
        {
          id: 'e02e811dd08f',
          tags: ['busybox:latest'],
          created: '2016-10-07T21:03:58Z',
          chains: ['e88b3f82283b'],
          digests: ['busybox@sha256:29f5d56d12684887bdfa50dcd29fc31eea4aaf4ad3bec43daf19026a7ce69912'],
        },
      );
      const list = String.raw`docker images --format 'table {{.Repository}}\t{{.Tag}}\t{{.ID}}\t{{.CreatedAt}}\t{{.Size}}'`;
      await step(
        list,
        `
REPOSITORY          TAG                 IMAGE ID            CREATED AT                      SIZE
foo                 latest              2f287ac753da        2017-01-04 13:42:23 -0800 PST   3.98 MB
alpine              latest              88e169ea8f46        2016-12-27 10:17:25 -0800 PST   3.98 MB
busybox             latest              e02e811dd08f        2016-10-07 14:03:58 -0700 PDT   1.09 MB`,
        '',
        env,
      );
      await step(
        'docker image prune -a --force --filter "until=2017-01-04T00:00:00"',
        `
Deleted Images:
untagged: alpine:latest
untagged: alpine@sha256:dfbd4a3a8ebca874ebd2474f044a0b33600d4523d03b0df76e5c5986cb02d7e8
untagged: busybox:latest
untagged: busybox@sha256:29f5d56d12684887bdfa50dcd29fc31eea4aaf4ad3bec43daf19026a7ce69912
deleted: sha256:e02e811dd08fd49e7f6032625495118e63f597eb150403d02e3238af1df240ba
deleted: sha256:e88b3f82283bc59d5e0df427c824e9f95557e661fcb0ea15fb0fb6f97760f9d9

Total reclaimed space: 1.093 MB`,
        '',
        env,
      );
      await step(
        list,
        `
REPOSITORY          TAG                 IMAGE ID            CREATED AT                      SIZE
foo                 latest              2f287ac753da        2017-01-04 13:42:23 -0800 PST   3.98 MB`,
        '',
        env,
      );
    });

    test('--filter until=, a duration', async () => {
      await store.load(
        { id: '2f287ac753da', tags: ['foo:latest'], age: '14 seconds' },
        { id: '88e169ea8f46', tags: ['alpine:latest'], age: '8 days' },
        {
          id: '7b0a06c805e8',
          tags: ['debian:jessie'],
          age: '2 months',
          chains: ['f96222d75c55'],
          digests: ['debian@sha256:c1af755d300d0c65bb1194d24bce561d70c98a54fb5ce5b1693beb4f7988272f'],
        },
        { id: 'e02e811dd08f', tags: ['busybox:latest'], age: '2 months' },
        {
          id: '138c2e655421',
          tags: ['golang:1.7.0'],
          age: '4 months',
          layers: someLayers('golang', 7),
          chains: [
            'ec353c2e1a67',
            'fe22765feaf3',
            'ff845959c801',
            'a43208313466',
            '4c76020202ee',
            'd7afd92fb072',
            '9e63c5bce458',
          ],
          digests: ['golang@sha256:6765038c2b8f407fd6e3ecea043b44580c229ccfa2a13f6d85866cf2b4a9628e'],
        },
      );
      await store.run('docker create --name user busybox');
      await step(
        'docker images',
        `
REPOSITORY          TAG                 IMAGE ID            CREATED             SIZE
foo                 latest              2f287ac753da        14 seconds ago      3.98 MB
alpine              latest              88e169ea8f46        8 days ago          3.98 MB
debian              jessie              7b0a06c805e8        2 months ago        123 MB
busybox             latest              e02e811dd08f        2 months ago        1.09 MB
golang              1.7.0               138c2e655421        4 months ago        670 MB`,
      );
      await stepInAnyOrder(
        'docker image prune -a --force --filter "until=240h"',
        `
Deleted Images:
untagged: golang:1.7.0
untagged: golang@sha256:6765038c2b8f407fd6e3ecea043b44580c229ccfa2a13f6d85866cf2b4a9628e
deleted: sha256:138c2e6554219de65614d88c15521bfb2da674cbb0bf840de161f89ff4264b96
deleted: sha256:ec353c2e1a673f456c4b78906d0d77f9d9456cfb5229b78c6a960bfb7496b76a
deleted: sha256:fe22765feaf3907526b4921c73ea6643ff9e334497c9b7e177972cf22f68ee93
deleted: sha256:ff845959c80148421a5c3ae11cc0e6c115f950c89bc949646be55ed18d6a2912
deleted: sha256:a4320831346648c03db64149eafc83092e2b34ab50ca6e8c13112388f25899a7
deleted: sha256:4c76020202ee1d9709e703b7c6de367b325139e74eebd6b55b30a63c196abaf3
deleted: sha256:d7afd92fb07236c8a2045715a86b7d5f0066cef025018cd3ca9a45498c51d1d6
deleted: sha256:9e63c5bce4585dd7038d830a1f1f4e44cb1a1515b00e620ac718e934b484c938
untagged: debian:jessie
untagged: debian@sha256:c1af755d300d0c65bb1194d24bce561d70c98a54fb5ce5b1693beb4f7988272f
deleted: sha256:7b0a06c805e8f23807fb8856621c60851727e85c7bcb751012c813f122734c8d
deleted: sha256:f96222d75c5563900bc4dd852179b720a0885de8f7a0619ba0ac76e92542bbc8

Total reclaimed space: 792.6 MB`,
      );
      await step('docker images --format {{.Repository}}', 'foo\nalpine\nbusybox');
    });

    test('--filter label, and without a label', async () => {
      const config = (labels: Record<string, string>): { labels: Record<string, string> } => ({ labels });
      await store.load(
        { id: '111111111111', tags: ['old:1'], ...config({ deprecated: '' }) },
        { id: '222222222222', tags: ['john:1'], ...config({ maintainer: 'john' }) },
        { id: '333333333333', tags: ['jane:1'], ...config({ maintainer: 'jane' }) },
      );
      // The page's lines ask, and show nothing; a dry run of each shows what would go.
      for (const [filter, names] of [
        ['--filter="label=deprecated"', ['old:1']],
        ['--filter="label=maintainer=john"', ['john:1']],
        ['--filter="label!=maintainer"', ['old:1']],
        ['--filter="label!=maintainer=john"', ['old:1', 'jane:1']],
      ] as const) {
        const { stdout } = await store.run(`docker image prune ${filter} -a --dry-run`);
        const gone = [...stdout.matchAll(/^untagged: (.*)$/gm)].map(([, name]) => name);
        expect([filter, gone]).toEqual([filter, names]);
        // docker/cli testdata prune-command-success.label-filter.golden
        await step(`docker image prune --force ${filter}`, 'Total reclaimed space: 0B');
      }
    });
  });

  describe('container prune', () => {
    test('after the question', async () => {
      await store.load({ id: 'fd484f19954f', tags: ['alpine:latest'] });
      for (const id of ['f98f9c2aa1ea', '4a7f7eebae0f'])
        store.means(id, (await store.run('docker create alpine')).stdout.trim());
      await step('head -c 212 /dev/zero > f && docker cp -q f 4a7f7eebae0f:/f', '');
      await stepInAnyOrder(
        'docker container prune',
        `
WARNING! This will remove all stopped containers.
Are you sure you want to continue? [y/N] Deleted Containers:
4a7f7eebae0f63178aff7eb0aa39cd3f0627a203ab2df258c1a00b456cf20063
f98f9c2aa1eaf727e4ec9c0283bc7d4aa4762fbdba7f26191f26c97f64090360

Total reclaimed space: 212 B`,
        'y\n',
      );
      await step('docker ps -aq', '');
    });

    test('--filter until=, a duration and a date', async () => {
      const env = { TZ: 'America/Los_Angeles' };
      await store.load({ id: 'fd484f19954f', tags: ['busybox:latest'], config: { config: { Cmd: ['sh'] } } });
      const create = async (id: string, created: string): Promise<void> => {
        const container = (await store.run('docker create busybox')).stdout.trim();
        store.means(id, container);
        const record = join(store.root, 'containers', container, 'container.json');
        const json = JSON.parse(readFileSync(record, 'utf8')) as Record<string, unknown>;
        writeFileSync(record, JSON.stringify({ ...json, createdAt: created }));
      };
      const list = String.raw`docker ps -a --format 'table {{.ID}}\t{{.Image}}\t{{.Command}}\t{{.CreatedAt}}'`;
      await create('4a75091a6d61', '2017-01-04T21:09:53.000Z');
      await create('53a9bc23a516', '2017-01-04T21:11:59.000Z');
      await create('61b9efa71024', new Date().toISOString());
      await step(
        'docker container prune --force --filter "until=2017-01-04T13:10:00"',
        `
Deleted Containers:
4a75091a6d618526fcd8b33ccd6e5928ca2a64415466f768a6180004b0c72c6c

Total reclaimed space: 0 B`,
        '',
        env,
      );
      const { stdout } = await store.run(list, env);
      expect(
        normalised(stdout)
          .split('\n')
          .slice(0, 3)
          .filter((line) => !line.startsWith('61')),
      ).toContain(
        store.expected(
          '53a9bc23a516        busybox             "sh"                2017-01-04 13:11:59 -0800 PST',
        ),
      );
      await step(
        'docker container prune --force --filter "until=5m"',
        `
Deleted Containers:
53a9bc23a5168b6caa2bfbefddf1b30f93c7ad57f3dec271fd32707497cb9369

Total reclaimed space: 0 B`,
      );
      await step('docker ps -aq', '61b9efa71024');
    });
  });

  test('system prune', async () => {
    await store.load(
      {
        id: '1815c82652c0',
        tags: [],
        chains: ['45761469c965'],
        digests: ['hello-world@sha256:f3b3b28a45160805bb16542c9531888519430e9e6d6ffc09d72261b0d26ff74f'],
      },
      { id: '7d88582121f2', tags: ['my-curl:latest'], chains: ['dd14a93d8359'] },
    );
    for (const id of ['792776e68ac9', 'f44f9b81948b'])
      store.means(id, (await store.run('docker create my-curl')).stdout.trim());
    // Networks, volumes and a build cache there are none of: those lines of the page are left out.
    await stepInAnyOrder(
      'docker system prune',
      `
WARNING! This will remove:
  - all stopped containers
  - all dangling images
  - derived data that no image and no container needs

Are you sure you want to continue? [y/N] Deleted Containers:
f44f9b81948b3919590d5f79a680d8378f1139b41952e219830a33027c80c867
792776e68ac9d75bce4092bc1b5cc17b779bc926ab04f4185aec9bf1c0d4641f

Deleted Images:
untagged: hello-world@sha256:f3b3b28a45160805bb16542c9531888519430e9e6d6ffc09d72261b0d26ff74f
deleted: sha256:1815c82652c03bfd8644afda26fb184f2ed891d921b20a0703b46768f9755c57
deleted: sha256:45761469c965421a92a69cc50e92c01e0cfa94fe026cdd1233445ea00e96289a

Total reclaimed space: 1.84kB`,
      'y\n',
    );
    await stepInAnyOrder(
      'docker system prune -a -f',
      `
Deleted Images:
untagged: my-curl:latest
deleted: sha256:7d88582121f2a29031d92017754d62a0d1a215c97e8f0106c586546e7404447d
deleted: sha256:dd14a93d83593d4024152f85d7c63f76aaa4e73e228377ba1d130ef5149f4d8b

Total reclaimed space: 13.5 MB`,
    );
  });
});
