/**
 * The examples of docker's pages on what there is to know (docker/cli docs/reference/commandline/{image_history,inspect,system_df,container_ls,
 * container_rm,container_rename,container_diff,container_cp}.md, 2026-08, and docs.docker.com/go/formatting).
 */
import { mkdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import { digestOf, tarOf } from '../helpers/archive-builder.js';
import type { BuiltLayer } from '../helpers/archive-builder.js';
import { ageMs, DocumentedStore, emptyLayer, normalised, someLayers } from '../helpers/docker-docs.js';
import { isLaminaBuilt } from '../helpers/lamina.js';
import { needs, requirement } from '../helpers/require.js';

const able = requirement('the built command (npm run build)', isLaminaBuilt('native'));
const canMount = able && needs('root', '/dev/fuse');

const zeros = (bytes: number): BuiltLayer => {
  const tar = tarOf([{ path: 'zeros', bytes: Buffer.alloc(bytes) }]);
  return { tar, diffId: digestOf(tar) };
};

describe.skipIf(!able)('what there is, as documented', () => {
  let store: DocumentedStore;
  beforeEach(() => {
    if (isShared) return;
    store = new DocumentedStore();
  });
  afterEach(() => {
    if (!isShared) store.close();
  });
  /** The tests of a group have one store: they only read. */
  let isShared = false;

  async function step(line: string, output: string, env: Record<string, string> = {}): Promise<void> {
    const { exitCode, stdout, stderr } = await store.run(line, env);
    expect([line, exitCode, stderr]).toEqual([line, 0, '']);
    expect(normalised(stdout)).toBe(store.expected(output));
  }

  async function create(id: string, line: string): Promise<void> {
    const { exitCode, stdout, stderr } = await store.run(line);
    expect([line, exitCode, stderr]).toEqual([line, 0, '']);
    store.means(id, stdout.trim());
  }

  const isoAgo = (age: string): string => new Date(Date.now() - ageMs(age)).toISOString();

  describe('history', () => {
    /** Steps, newest first, as the page has them: ID, age, command, comment; each is an image that is known here. */
    async function build(
      tag: string,
      steps: readonly (readonly [string, string, string, string, boolean])[],
    ): Promise<void> {
      const oldestFirst = [...steps].reverse();
      const [layers, history]: [BuiltLayer[], object[]] = [[], []];
      for (const [index, [id, age, createdBy, comment, hasLayer]] of oldestFirst.entries()) {
        if (hasLayer) layers.push(...someLayers(id, 1));
        history.push({
          created: isoAgo(age),
          ...(createdBy === '' ? {} : { created_by: createdBy }),
          ...(comment === '' ? {} : { comment }),
          ...(hasLayer ? {} : { empty_layer: true }),
        });
        const isTop = index === steps.length - 1;
        const parent = oldestFirst[index - 1]?.[0];
        await store.load({
          ...{ id, age, tags: isTop ? [tag] : [] },
          // An image of no layers at all is none that docker would save.
          layers: layers.length === 0 ? [emptyLayer('scratch')] : [...layers],
          ...(parent === undefined ? {} : { parent }),
          config: { history: [...history] },
        });
      }
    }

    test('how docker:latest was built', async () => {
      // Longer than what the page shows of it; the page is from before the cut was marked by an ellipsis.
      const install = '/bin/sh -c apt-get update && apt-get install -y locales';
      await build('docker:latest', [
        ['3e23a5875458', '8 days', '/bin/sh -c #(nop) ENV LC_ALL=C.UTF-8', '', false],
        ['8578938dd170', '8 days', '/bin/sh -c dpkg-reconfigure locales &&    locale-gen C.UTF-8', '', true],
        ['be51b77efb42', '8 days', install, '', true],
        ['4b137612be55', '6 weeks', '/bin/sh -c #(nop) ADD jessie.tar.xz in /', '', true],
        [
          '750d58736b4b',
          '6 weeks',
          '/bin/sh -c #(nop) MAINTAINER Tianon Gravi <admwiggin@gmail.com>',
          '',
          false,
        ],
        ['511136ea3c5a', '9 months', '', 'Imported from -', true],
      ]);
      await step(
        'docker history docker',
        `
IMAGE               CREATED             CREATED BY                                      SIZE                COMMENT
3e23a5875458        8 days ago          /bin/sh -c #(nop) ENV LC_ALL=C.UTF-8            0 B
8578938dd170        8 days ago          /bin/sh -c dpkg-reconfigure locales &&    lo…   1.245 MB
be51b77efb42        8 days ago          /bin/sh -c apt-get update && apt-get install…   338.3 MB
4b137612be55        6 weeks ago         /bin/sh -c #(nop) ADD jessie.tar.xz in /        121 MB
750d58736b4b        6 weeks ago         /bin/sh -c #(nop) MAINTAINER Tianon Gravi <a…   0 B
511136ea3c5a        9 months ago                                                        1 B                 Imported from -`,
      );
      const { stdout } = await store.run('docker history --no-trunc --format "{{.CreatedBy}}" docker');
      expect(stdout.split('\n')[2]).toBe(install);
      await step(
        'docker history -q docker',
        '3e23a5875458\n8578938dd170\nbe51b77efb42\n4b137612be55\n750d58736b4b\n511136ea3c5a',
      );
    });

    test('an image that was committed, and one whose steps are not known here', async () => {
      await build('docker:scm', [
        ['2ac9d1098bf1', '3 months', '/bin/bash', 'Added Apache to Fedora base image', true],
        ['88b42ffd1f7c', '5 months', '/bin/sh -c #(nop) ADD file:1fd8d7f9f6557cafc7', '', true],
        ['c69cab00d6ef', '5 months', '/bin/sh -c #(nop) MAINTAINER Lokesh Mandvekar', '', false],
        ['511136ea3c5a', '19 months', '', 'Imported from -', true],
      ]);
      await step(
        'docker history docker:scm',
        `
IMAGE               CREATED             CREATED BY                                      SIZE                COMMENT
2ac9d1098bf1        3 months ago        /bin/bash                                       241.4 MB            Added Apache to Fedora base image
88b42ffd1f7c        5 months ago        /bin/sh -c #(nop) ADD file:1fd8d7f9f6557cafc7   373.7 MB
c69cab00d6ef        5 months ago        /bin/sh -c #(nop) MAINTAINER Lokesh Mandvekar   0 B
511136ea3c5a        19 months ago                                                       1 B                 Imported from -`,
      );
      await store.load({
        ...{ id: 'f6e427c148a7', tags: ['busybox:latest'], age: '4 weeks' },
        config: {
          history: [
            { created: isoAgo('4 weeks'), created_by: '/bin/sh -c #(nop) ADD file in /' },
            { created: isoAgo('4 weeks'), created_by: '/bin/sh -c #(nop)  CMD ["sh"]', empty_layer: true },
          ],
        },
      });
      await step(
        'docker history --format "{{.ID}}: {{.CreatedSince}}" busybox',
        `
f6e427c148a7: 4 weeks ago
<missing>: 4 weeks ago`,
      );
    });

    test('of a platform, as the page aligns it; and one that the image is not for', async () => {
      await store.load({
        ...{ id: 'beefdbd8a1da', tags: ['alpine:latest'], layers: [zeros(8_460_000)] },
        config: {
          architecture: 's390x',
          history: [
            {
              created: isoAgo('3 weeks'),
              created_by:
                '/bin/sh -c #(nop) ADD file:ba2637314e600db5a42f9a8b8f3b3ebd2ea1b8cbbd03ee3a2d9a4d8f1f4e5c60 in / ',
            },
            {
              created: isoAgo('3 weeks'),
              created_by: '/bin/sh -c #(nop)  CMD ["/bin/sh"]',
              empty_layer: true,
            },
          ],
        },
      });
      const { stdout } = await store.run('docker image history --platform=linux/s390x alpine');
      expect(stdout.replaceAll(/ +$/gm, '')).toBe(
        `IMAGE          CREATED       CREATED BY                                      SIZE      COMMENT
${store.idOf('beefdbd8a1da').slice(0, 12)}   3 weeks ago   /bin/sh -c #(nop)  CMD ["/bin/sh"]              0B
<missing>      3 weeks ago   /bin/sh -c #(nop) ADD file:ba2637314e600db5a…   8.46MB
`,
      );
      const failed = await store.run('docker image history --platform=linux/amd64 alpine');
      expect([failed.exitCode, failed.stdout]).toEqual([1, '']);
      // "does not match the specified platform: wanted linux/amd64" on the page; today's words are those of moby's containerd backend.
      expect(failed.stderr).toContain(
        'image with reference alpine was found but does not provide the specified platform (linux/amd64)',
      );
    });

    test('docker/cli’s golden files', async () => {
      await store.load({
        ...{ id: '123456789012', tags: ['image:tag'] },
        layers: [emptyLayer('golden')],
        config: {
          history: [{ created: '2017-01-01T12:00:03Z', created_by: 'rose', comment: 'new history item!' }],
        },
      });
      // history-command-success.non-human.golden; its ID is one that no image has.
      const { stdout } = await store.run('docker history --human=false --no-trunc image:tag');
      const id = `sha256:${store.idOf('123456789012')}`;
      expect(stdout).toBe(
        `IMAGE${' '.repeat(id.length - 2)}CREATED AT             CREATED BY   SIZE      COMMENT
${id}   2017-01-01T12:00:03Z   rose         0         new history item!
`,
      );
      await step('docker history -q image:tag', '123456789012');
    });
  });

  test('image ls --tree', async () => {
    // image_rm.md; one platform of it is here, as after the page's removal of the others.
    await store.load(
      { id: 'a8560b36e8b8', tags: ['alpine:latest', 'alpine:3'] },
      { id: 'b8560b36e8b8', tags: [] },
    );
    await create('4a7f7eebae0f', 'docker create alpine');
    const { stdout } = await store.run('docker image ls --tree -a');
    const [, digest] = /linux\/amd64 +([0-9a-f]{12})/.exec(stdout)!;
    expect(await store.lamina('image', 'inspect', '-f', '{{.Descriptor.Digest}}', 'alpine')).toContain(
      digest,
    );
    const untagged = /<untagged>[^]*linux\/amd64 +([0-9a-f]{12})/.exec(stdout)![1]!;
    expect(normalised(stdout)).toBe(
      store.expected(`
IMAGE                   ID             DISK USAGE   CONTENT SIZE   EXTRA
alpine:3
alpine:latest           a8560b36e8b8       37.8MB         11.2MB    U
└─ linux/amd64          ${digest}       12.1MB         3.64MB    U

<untagged>              b8560b36e8b8       37.8MB         11.2MB
└─ linux/amd64          ${untagged}       12.1MB         3.64MB`),
    );
    for (const [flag, named] of [
      ['-q', 'quiet'],
      ['--no-trunc', 'no-trunc'],
      ['--digests', 'show-digest'],
      ['--format json', 'format'],
    ])
      expect((await store.run(`docker images --tree ${flag}`)).stderr).toContain(
        `--${named} is not yet supported with --tree`,
      );
  });

  describe('inspect', () => {
    beforeAll(async () => {
      isShared = true;
      store = new DocumentedStore();
      await store.load({
        ...{
          id: 'd0e008c6cf02',
          tags: ['ubuntu:24.04', 'ubuntu:latest'],
          created: '2024-04-24T01:02:03.456Z',
        },
        digests: ['ubuntu@sha256:3f85b7caad41a95462cf5b787d8a04604c8262cdcdf9a472b8c52ef83375fe15'],
        config: {
          config: {
            Env: ['HOME=/', 'PATH=/bin'],
            Cmd: ['/bin/bash', '-l'],
            Labels: { 'com.example.version': '1.0', maintainer: 'jane' },
            ExposedPorts: { '80/tcp': {}, '443/tcp': {} },
          },
        },
      });
      await create('c3f279d17e0a', 'docker create --name mycontainer ubuntu:24.04');
    });
    afterAll(() => {
      isShared = false;
      store.close();
    });

    // Lines of the pages, then those of tutorials; what they print follows from Go's text/template and the image.
    test.each([
      ["docker inspect --format='{{.Config.Image}}' mycontainer", 'ubuntu:24.04'],
      ['docker inspect --format \'{{join .Args " , "}}\' mycontainer', '-l'],
      ['docker inspect --format "{{lower .Name}}" mycontainer', '/mycontainer'],
      ['docker inspect --format "{{upper .Name}}" mycontainer', '/MYCONTAINER'],
      ['docker inspect --format "{{title .Name}}" mycontainer', '/Mycontainer'],
      ['docker inspect --format \'{{split .Config.Image ":"}}\' mycontainer', '[ubuntu 24.04]'],
      ["docker image list --format '{{pad .Repository 5 10}}|' ubuntu:latest", 'ubuntu  |'],
      ["docker image list --format '{{truncate .Repository 4}}' ubuntu:latest", 'ubun'],
      [
        String.raw`docker image list --format "table {{.ID}}\t{{.Repository}}\t{{.Tag}}\t{{.Size}}"`,
        'IMAGE ID  REPOSITORY  TAG  SIZE\nd0e008c6cf02  ubuntu  24.04  15B\nd0e008c6cf02  ubuntu  latest  15B',
      ],
      ["docker inspect --format='{{json .Config}}' mycontainer | cut -c-12", '{"Hostname":'],
      [
        "docker inspect --type=image --format '{{json .Config.Labels}}' ubuntu",
        '{"com.example.version":"1.0","maintainer":"jane"}',
      ],
      ['docker inspect -f "{{ .Config.Env }}" d0e008c6cf02', '[HOME=/ PATH=/bin]'],
      ["docker inspect -f '{{range .Config.Env}}{{println .}}{{end}}' ubuntu", 'HOME=/\nPATH=/bin'],
      [
        'docker inspect -f \'{{index .Config.Labels "com.example.version"}} {{.Config.Labels.maintainer}}\' ubuntu',
        '1.0 jane',
      ],
      [
        "docker inspect -f '{{range $p, $conf := .Config.ExposedPorts}}{{$p}} {{end}}' ubuntu",
        '443/tcp 80/tcp',
      ],
      ["docker image inspect --format='{{index .RepoTags 0}} {{len .RepoTags}}' ubuntu", 'ubuntu:24.04 2'],
      [
        "docker image inspect --format='{{index .RepoDigests 0}}' ubuntu",
        'ubuntu@sha256:3f85b7caad41a95462cf5b787d8a04604c8262cdcdf9a472b8c52ef83375fe15',
      ],
      [
        "docker image inspect --format='{{.Id}}' ubuntu",
        'sha256:d0e008c6cf02d0e008c6cf02d0e008c6cf02d0e008c6cf02d0e008c6cf02d0e0',
      ],
      [
        "docker image inspect -f '{{.Os}}/{{.Architecture}} {{.Size}} {{.Created}}' ubuntu",
        'linux/amd64 15 2024-04-24T01:02:03.456Z',
      ],
      ["docker image inspect -f '{{len .RootFS.Layers}} {{.RootFS.Type}}' ubuntu", '1 layers'],
      ["docker image inspect -f '{{if .Config.User}}{{.Config.User}}{{else}}root{{end}}' ubuntu", 'root'],
      ['docker image inspect -f \'{{with .Config.Cmd}}{{join . " "}}{{end}}\' ubuntu', '/bin/bash -l'],
      [
        "docker inspect -f '{{.State.Status}} {{.Image}}' mycontainer",
        'created sha256:d0e008c6cf02d0e008c6cf02d0e008c6cf02d0e008c6cf02d0e008c6cf02d0e0',
      ],
    ])('%s', async (line, output) => {
      // A whole ID in what is expected is any that begins so.
      await step(line, output);
    });

    test('several names, some of which are not there, and a template that does not fit', async () => {
      const several = await store.run("docker inspect -f '{{.Id}}' ubuntu nope mycontainer");
      expect(several.exitCode).toBe(1);
      expect(several.stdout.split('\n')).toHaveLength(3);
      expect(several.stderr).toContain('No such object: nope');
      const missing = await store.run('docker image inspect nope:1');
      expect([missing.exitCode, missing.stdout]).toEqual([1, '[]\n']);
      expect(missing.stderr).toContain('No such image: nope:1');
      const field = await store.run("docker image inspect -f '{{.Nope}}' ubuntu");
      expect([field.exitCode, field.stderr]).toEqual([
        1,
        expect.stringContaining('map has no entry for key "Nope"'),
      ]);
      const syntax = await store.run("docker image inspect -f '{{.Id' ubuntu");
      expect([syntax.exitCode, syntax.stderr]).toEqual([64, expect.stringContaining('unclosed action')]);
      expect((await store.run('docker inspect --type=image mycontainer')).stderr).toContain(
        'No such image: mycontainer',
      );
    });
  });

  test('system df: the summary, all of it, and templates', async () => {
    await store.load(
      {
        id: '4e38e38c8ce0',
        tags: ['alpine:latest'],
        age: '7 weeks',
        layers: someLayers('alpine', 1),
        config: { config: { Cmd: ['sh'] } },
      },
      { id: 'b2789dd875bf', tags: ['my-curl:latest'], age: '6 minutes' },
    );
    await create('4a7f7eebae0f', 'docker create --name hopeful_yalow alpine');
    // Volumes and a build cache there are none of here; derived data docker does not have.
    const { stdout } = await store.run('docker system df');
    const percents = normalised(stdout)
      .replaceAll(/\(\d+%\)/g, '(N%)')
      .split('\n');
    expect(percents.slice(0, 3)).toEqual(
      store
        .expected(
          `
TYPE                TOTAL               ACTIVE              SIZE                RECLAIMABLE
Images              2                   1                   16.43 MB            11.63 MB (N%)
Containers          1                   0                   0 B                 0 B`,
        )
        .split('\n'),
    );
    const verbose = normalised((await store.run('docker system df -v')).stdout).split('\n');
    const page = store
      .expected(
        `
Images space usage:

REPOSITORY          TAG                 IMAGE ID            CREATED             SIZE                SHARED SIZE         UNIQUE SIZE         CONTAINERS
my-curl             latest              b2789dd875bf        6 minutes ago       11 MB               0 B                 5 B                 0
alpine              latest              4e38e38c8ce0        7 weeks ago         4.799 MB            0 B                 4.799 MB            1

Containers space usage:

CONTAINER ID        IMAGE               COMMAND             LOCAL VOLUMES       SIZE                CREATED             STATUS                      NAMES
4a7f7eebae0f        alpine:latest       "sh"                0                   0 B                 1 seconds ago       Created                     hopeful_yalow`,
      )
      .split('\n')
      .map((line) => line.replace('alpine:latest', 'alpine'));
    expect(verbose.filter((line) => page.includes(line) && line !== '').sort()).toEqual(
      page.filter(Boolean).sort(),
    );
    const types = await store.run('docker system df --format "{{.Type}}: {{.TotalCount}}"');
    expect(types.stdout).toMatch(/^Images: 2\nContainers: 1\n/);
    const table = await store.run(
      String.raw`docker system df --format "table {{.Type}}\t{{.Size}}\t{{.Reclaimable}}"`,
    );
    expect(normalised(table.stdout).split('\n')[0]).toBe('TYPE  SIZE  RECLAIMABLE');
    const [images] = (await store.run('docker system df --format json')).stdout.split('\n');
    expect(normalised(images!).replace(/\(\d+%\)/, '(N%)')).toBe(
      normalised(
        '{"Active":"1","Reclaimable":"2.498GB (N%)","Size":"2.631GB","TotalCount":"2","Type":"Images"}',
      ),
    );
  });

  describe('containers', () => {
    beforeEach(() =>
      store.load(
        { id: 'd0e008c6cf02', tags: ['ubuntu:24.04'], config: { config: { Cmd: ['/bin/bash'] } } },
        {
          id: 'e02e811dd08f',
          tags: ['busybox:latest'],
          config: { config: { Cmd: ['top'], Labels: { color: 'blue' } } },
        },
      ),
    );

    test('ps -a, and its filters', async () => {
      await create('6e63f6ff38b0', 'docker create --name distracted_fermat busybox');
      await create('4aace5031105', 'docker create --name nostalgic_shockley ubuntu:24.04');
      await create('9c3527ed70ce', 'docker create --name i_am_nostalgic busybox');
      const head =
        'CONTAINER ID        IMAGE       COMMAND       CREATED              STATUS              PORTS              NAMES';
      const [fermat, shockley, nostalgic] = [
        '6e63f6ff38b0        busybox     "top"         5 seconds ago        Created                                distracted_fermat',
        '4aace5031105        ubuntu:24.04  "/bin/bash"  5 seconds ago        Created                                nostalgic_shockley',
        '9c3527ed70ce        busybox     "top"         5 seconds ago        Created                                i_am_nostalgic',
      ];
      const list = (...lines: string[]): string => [head, ...lines].join('\n');
      await step('docker ps', list());
      await step('docker ps -a', list(nostalgic!, shockley!, fermat!));
      await step('docker container ls --all', list(nostalgic!, shockley!, fermat!));
      await step('docker ps -a -f before=9c3527ed70ce', list(shockley!, fermat!));
      await step('docker ps -a -f since=6e63f6ff38b0', list(nostalgic!, shockley!));
      await step('docker ps -a --filter "name=nostalgic"', list(nostalgic!, shockley!));
      await step('docker ps -a --filter "name=nostalgic_shockley"', list(shockley!));
      await step('docker ps -a --filter "label=color"', list(nostalgic!, fermat!));
      await step('docker ps -a --filter "label=color=blue" -n 1', list(nostalgic!));
      await step('docker ps -a --filter status=created -q', '9c3527ed70ce\n4aace5031105\n6e63f6ff38b0');
      for (const image of ['ubuntu:24.04', 'd0e008c6cf02'])
        await step(`docker ps -a --filter ancestor=${image}`, list(shockley!));
      await step(
        'docker ps -l --no-trunc -q',
        '9c3527ed70ce9c3527ed70ce9c3527ed70ce9c3527ed70ce9c3527ed70ce9c35',
      );
      await step('docker ps -a --format "{{.ID}}: {{.Command}}" -f name=i_am', '9c3527ed70ce: "top"');
      await step(
        String.raw`docker ps -a --format "table {{.ID}}\t{{.Labels}}" -f name=i_am`,
        'CONTAINER ID        LABELS\n9c3527ed70ce        color=blue',
      );
      // container_rm.md
      await step('docker rm $(docker ps -a --filter status=created -q -n 1)', '9c3527ed70ce');
      await step('docker ps -a --filter name=distracted -q | xargs docker rm', '6e63f6ff38b0');
      await step('docker rename nostalgic_shockley my_new_container', '');
      await step('docker ps -a --format {{.Names}}', 'my_new_container');
      await step('docker rm --force my_new_container', 'my_new_container');
    });

    test.skipIf(!canMount)('ps lists what is mounted, and a mounted image is not removed', async () => {
      mkdirSync(join(store.directory, 'mnt'));
      await create('9c3527ed70ce', 'docker create --name web busybox');
      await step('docker mount web mnt', '');
      try {
        await step('docker ps --format "{{.ID}} {{.Names}}"', '9c3527ed70ce web');
        const { exitCode, stderr } = await store.run('docker rmi -f e02e811dd08f');
        expect([exitCode, stderr]).toEqual([
          1,
          expect.stringContaining(
            store.expected(
              'conflict: unable to delete e02e811dd08f (cannot be forced) - image is being used by running container 9c3527ed70ce',
            ),
          ),
        ]);
      } finally {
        await store.run('docker umount mnt');
      }
    });

    test('cp into a container, out of it, and to standard output; diff', async () => {
      await create('1fdfd1f54c1b', 'docker create --name CONTAINER busybox');
      mkdirSync(join(store.directory, 'logs'));
      writeFileSync(join(store.directory, 'logs/app.log'), 'fine\nERROR one\n');
      writeFileSync(join(store.directory, 'some_file'), 'some');
      await step('docker cp -q ./some_file CONTAINER:/work', '');
      await step('docker cp -q logs CONTAINER:/', '');
      await step('docker cp -q CONTAINER:/logs/ app_logs', '');
      expect(readFileSync(join(store.directory, 'app_logs/app.log'), 'utf8')).toBe('fine\nERROR one\n');
      await step('docker cp CONTAINER:/logs/app.log - | tar x -O | grep "ERROR"', 'ERROR one');
      await step('docker diff 1fdfd1f54c1b', 'A /logs\nA /logs/app.log\nA /work');
      rmSync(join(store.directory, 'app_logs'), { recursive: true });
    });
  });
});
