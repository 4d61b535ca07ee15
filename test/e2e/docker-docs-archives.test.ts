/**
 * The examples of docker's pages on archives and on making images (docker/cli docs/reference/commandline/{image_load,image_save,image_import,image_tag,
 * container_commit,container_export}.md, 2026-08).
 */
import { execFileSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import { mkdirSync, readFileSync, statSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { annotated, dockerSave25, forPlatform, image, LayoutBuilder } from '../helpers/archive-builder.js';
import { DocumentedStore, normalised, someLayers } from '../helpers/docker-docs.js';
import { isLaminaBuilt } from '../helpers/lamina.js';
import { needs, requirement } from '../helpers/require.js';

const able =
  needs('command tar', 'command gzip', 'command bzip2', 'command xz', 'command zstd') &&
  requirement('the built command (npm run build)', isLaminaBuilt('native'));

describe.skipIf(!able)('archives, as documented', () => {
  let store: DocumentedStore;
  beforeEach(() => {
    store = new DocumentedStore();
  });
  afterEach(() => store.close());

  const at = (name: string): string => join(store.directory, name);

  async function step(line: string, output: string, env: Record<string, string> = {}): Promise<void> {
    const { exitCode, stdout, stderr } = await store.run(line, env);
    expect([line, exitCode, stderr]).toEqual([line, 0, '']);
    expect(normalised(stdout)).toBe(store.expected(output));
  }

  /** A command that prints an ID, which the page calls `id`. */
  async function makes(id: string, line: string, env: Record<string, string> = {}): Promise<void> {
    const { exitCode, stdout, stderr } = await store.run(line, env);
    expect([line, exitCode, stderr]).toEqual([line, 0, '']);
    expect(stdout).toMatch(/^sha256:[0-9a-f]{64}\n$/);
    store.means(id, stdout.trim());
  }

  async function refused(line: string, message: string, status = 1): Promise<void> {
    const { exitCode, stdout, stderr } = await store.run(line);
    expect([line, exitCode, stdout]).toEqual([line, status, '']);
    expect(stderr).toContain(store.expected(message));
  }

  const inspect = async (format: string, name: string): Promise<string> =>
    (await store.run(`docker inspect -f '${format}' ${name}`)).stdout.trimEnd();

  describe('load', () => {
    const busybox = { id: '769b9341d937', tags: ['busybox:latest'], age: '7 weeks' };
    const clear = async (): Promise<void> => void (await store.run('docker rmi -f $(docker images -aq)'));

    test.each(['gzip', 'bzip2', 'xz', 'zstd'])('from standard input, compressed by %s', async (program) => {
      await store.load(busybox);
      await step('docker save busybox > busybox.tar', '');
      execFileSync('sh', ['-c', `${program} < busybox.tar > busybox.tar.gz`], { cwd: store.directory });
      await clear();
      await step(
        'docker image ls',
        `
REPOSITORY          TAG                 IMAGE ID            CREATED             SIZE`,
      );
      await step('docker load < busybox.tar.gz', 'Loaded image: busybox:latest');
      await step(
        'docker images',
        `
REPOSITORY          TAG                 IMAGE ID            CREATED             SIZE
busybox             latest              769b9341d937        7 weeks ago         2.489 MB`,
      );
      // And through a pipe.
      await clear();
      await step('cat busybox.tar.gz | docker load', 'Loaded image: busybox:latest');
    });

    test('from a file, several images and tags', async () => {
      await store.load(
        { id: '0d20aec6529d', tags: ['fedora:rawhide'], age: '7 weeks' },
        { id: '58394af37342', tags: ['fedora:20', 'fedora:heisenbug', 'fedora:latest'], age: '7 weeks' },
      );
      await step('docker save --output fedora.tar fedora', '');
      await clear();
      await store.load(busybox);
      // The page names two of the four: it prints what was in its archive.
      const { stdout } = await store.run('docker load --input fedora.tar');
      expect(stdout.trim().split('\n').sort()).toEqual(
        ['20', 'heisenbug', 'latest', 'rawhide'].map((tag) => `Loaded image: fedora:${tag}`),
      );
      const { stdout: list } = await store.run('docker images');
      const sorted = (text: string): string[] => text.split('\n').sort();
      expect(sorted(normalised(list))).toEqual(
        sorted(
          store.expected(`
REPOSITORY          TAG                 IMAGE ID            CREATED             SIZE
busybox             latest              769b9341d937        7 weeks ago         2.489 MB
fedora              rawhide             0d20aec6529d        7 weeks ago         387 MB
fedora              20                  58394af37342        7 weeks ago         385.5 MB
fedora              heisenbug           58394af37342        7 weeks ago         385.5 MB
fedora              latest              58394af37342        7 weeks ago         385.5 MB`),
        ),
      );
      await step('docker load -q -i fedora.tar | sort', stdout.trim().split('\n').sort().join('\n'));
    });

    test('one platform', async () => {
      const layout = new LayoutBuilder();
      const built = ['amd64', 'riscv64'].map((architecture) =>
        image(someLayers(architecture, 1), { architecture }),
      );
      layout.manifests.push(
        layout.addIndex(
          built.map((one, index) =>
            layout.addImage(one, { extra: forPlatform(index === 0 ? 'linux/amd64' : 'linux/riscv64') }),
          ),
          {
            annotations: {
              'io.containerd.image.name': 'docker.io/library/alpine:latest',
              ...annotated('latest').annotations!,
            },
          },
        ),
      );
      writeFileSync(at('image.tar'), readFileSync(store.scratch.tar(layout.members())));
      await step('docker image load -i image.tar --platform=linux/amd64', 'Loaded image: alpine:latest');
      expect(await inspect('{{.Os}}/{{.Architecture}}', 'alpine')).toBe('linux/amd64');
      await refused(
        'docker image load -i image.tar --platform=linux/ppc64le',
        'requested platform (linux/ppc64le) not found: image might be filtered out',
      );
      await step(
        'docker image load -i image.tar --platform=linux/riscv64',
        'Loaded image: alpine:latest',
      ).catch(() => undefined);
      expect(await inspect('{{.Architecture}}', 'alpine')).toBe('riscv64');
      await step('docker image save --platform=linux/riscv64 -o alpine-riscv.tar alpine:latest', '');
      expect(statSync(at('alpine-riscv.tar')).mode & 0o777).toBe(0o600);
      const { exitCode, stderr } = await store.run(
        'docker image save --platform=linux/s390x -o alpine-s390x.tar alpine:latest',
      );
      expect([exitCode, stderr]).toEqual([1, expect.stringContaining('linux/s390x')]);
    });
  });

  describe('save', () => {
    test('to standard output and to a file, the same bytes', async () => {
      await store.load({ id: '769b9341d937', tags: ['busybox:latest'] });
      await step('docker save busybox > busybox.tar', '');
      await step('docker save --output busybox2.tar busybox', '');
      await step('docker image save -o busybox3.tar 769b9341d937', '');
      expect(readFileSync(at('busybox.tar')).equals(readFileSync(at('busybox2.tar')))).toBe(true);
      // By its ID it has no name.
      const names = (file: string): unknown =>
        (
          JSON.parse(execFileSync('tar', ['-xOf', at(file), 'manifest.json'], { encoding: 'utf8' })) as {
            RepoTags: unknown;
          }[]
        )[0]!.RepoTags;
      expect([names('busybox.tar'), names('busybox3.tar')]).toEqual([['busybox:latest'], null]);
      await step('docker save busybox:latest | gzip > myimage_latest.tar.gz', '');
      await step(
        'docker rmi -f busybox > out; docker load -i myimage_latest.tar.gz',
        'Loaded image: busybox:latest',
      );
    });

    test('all tags of a name, one tag, and chosen tags', async () => {
      await store.load(
        { id: '111111111111', tags: ['ubuntu:lucid'] },
        { id: '222222222222', tags: ['ubuntu:saucy'] },
        { id: '333333333333', tags: ['ubuntu:latest'] },
      );
      const saved = (file: string): string[] =>
        (
          JSON.parse(execFileSync('tar', ['-xOf', at(file), 'manifest.json'], { encoding: 'utf8' })) as {
            RepoTags: string[];
          }[]
        ).flatMap(({ RepoTags }) => RepoTags);
      await step('docker save -o ubuntu-all.tar ubuntu', '');
      await step('docker save -o ubuntu-latest.tar ubuntu:latest', '');
      await step('docker save -o ubuntu.tar ubuntu:lucid ubuntu:saucy', '');
      expect(saved('ubuntu-all.tar').sort()).toEqual(['ubuntu:latest', 'ubuntu:lucid', 'ubuntu:saucy']);
      expect(saved('ubuntu-latest.tar')).toEqual(['ubuntu:latest']);
      expect(saved('ubuntu.tar').sort()).toEqual(['ubuntu:lucid', 'ubuntu:saucy']);
      await refused('docker save -o x.tar nope', 'No such image: nope:latest');
    });
  });

  describe('import', () => {
    /** A directory of two files, and archives of it. */
    function rootfs(bytes = 1000): void {
      mkdirSync(at('rootfs/etc'), { recursive: true });
      writeFileSync(at('rootfs/etc/os-release'), 'NAME=test\n');
      writeFileSync(at('rootfs/large'), Buffer.alloc(bytes - 10));
      execFileSync('tar', ['-C', at('rootfs'), '-czf', at('rootfs.tgz'), '.']);
      execFileSync('cp', [at('rootfs.tgz'), at('exampleimage.tgz')]);
    }
    const osRelease = async (name: string): Promise<string> =>
      (await store.run(`docker fs cat ${name} /etc/os-release`)).stdout;

    test('from a pipe, a file and a directory', async () => {
      rootfs();
      await makes('111111111111', 'cat exampleimage.tgz | docker import - exampleimagelocal:new');
      expect(await osRelease('exampleimagelocal:new')).toBe('NAME=test\n');
      await makes('222222222222', `docker import ${at('exampleimage.tgz')}`);
      await step(`docker images -aq --filter dangling=true`, '222222222222');
      await makes('333333333333', 'cd rootfs && tar -c . | docker import - exampleimagedir');
      expect(await osRelease('exampleimagedir')).toBe('NAME=test\n');
    });

    test('from a remote location', async () => {
      rootfs();
      const server = createServer((request, response) => {
        if (request.url === '/exampleimage.tgz') response.end(readFileSync(at('exampleimage.tgz')));
        else response.writeHead(404, 'Not Found').end();
      });
      await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
      const url = `http://127.0.0.1:${(server.address() as AddressInfo).port}/exampleimage.tgz`;
      try {
        const { exitCode, stdout, stderr } = await store.run(`docker import ${url}`);
        expect([exitCode, stderr]).toEqual([0, '']);
        const [, id] = /^Downloading from \S+exampleimage\.tgz\n(sha256:[0-9a-f]{64})\n$/.exec(stdout)!;
        expect(await osRelease(id!)).toBe('NAME=test\n');
        expect(await inspect('{{.Comment}}', id!)).toBe(`Imported from ${url}`);
        const failed = await store.run(`docker import ${url.replace('example', 'no')} x`);
        expect([failed.exitCode, failed.stderr]).toEqual([1, expect.stringContaining('404 Not Found')]);
        await step('docker images -q x', '');
      } finally {
        server.close();
      }
    });

    test('with new configurations', async () => {
      rootfs();
      await makes('111111111111', 'docker import --change "ENV DEBUG=true" ./rootfs.tgz exampleimagedir');
      expect(await inspect('{{json .Config.Env}}', 'exampleimagedir')).toBe('["DEBUG=true"]');
      await makes(
        '222222222222',
        `docker import \\
    --change "ENV DEBUG=true" \\
    --change "LABEL LABEL1=hello" \\
    --change "LABEL LABEL2=world" \\
    ./rootfs.tgz exampleimagedir`,
      );
      expect(await inspect('{{json .Config.Labels}} {{json .Config.Env}}', 'exampleimagedir')).toBe(
        '{"LABEL1":"hello","LABEL2":"world"} ["DEBUG=true"]',
      );
      // Each instruction that the page lists.
      await makes(
        '333333333333',
        `docker import -c 'CMD ["sh", "-c"]' -c 'ENTRYPOINT ["/init"]' -c 'ENV A=b' -c 'EXPOSE 80/tcp 53/udp' \
          -c 'HEALTHCHECK --interval=5m --timeout=3s CMD curl -f http://localhost/' -c 'LABEL a=b' -c 'ONBUILD RUN true' \
          -c 'STOPSIGNAL SIGKILL' -c 'USER 1:2' -c 'VOLUME /data' -c 'WORKDIR /srv' rootfs.tgz all`,
      );
      const config = JSON.parse(await inspect('{{json .Config}}', 'all')) as Record<string, unknown>;
      expect(config).toEqual({
        User: '1:2',
        ExposedPorts: { '53/udp': {}, '80/tcp': {} },
        Env: ['A=b'],
        Entrypoint: ['/init'],
        Cmd: ['sh', '-c'],
        Volumes: { '/data': {} },
        WorkingDir: '/srv',
        Labels: { a: 'b' },
        StopSignal: 'SIGKILL',
        Healthcheck: {
          Test: ['CMD-SHELL', 'curl -f http://localhost/'],
          Interval: 300e9,
          Timeout: 3e9,
        },
        OnBuild: ['RUN true'],
      });
      await refused("docker import -c 'RUN true' rootfs.tgz", 'run is not a valid change command', 125);
    });

    test('with a message, which history shows, as the page aligns it', async () => {
      rootfs(53_600_000);
      const env = { SOURCE_DATE_EPOCH: String(Math.floor(Date.now() / 1000) - 121) };
      await makes(
        '25e54c0df7dc',
        'docker import --message "New image imported from tarball" ./rootfs.tgz exampleimagelocal:new',
        env,
      );
      const { stdout } = await store.run('docker image history exampleimagelocal:new');
      expect(stdout).toBe(
        `IMAGE          CREATED         CREATED BY   SIZE      COMMENT
${store.idOf('25e54c0df7dc').slice(0, 12)}   2 minutes ago                53.6MB    New image imported from tarball
`,
      );
    });

    test('for a platform', async () => {
      rootfs();
      await makes('44a8b44157da', 'docker image import --platform=linux/amd64  ./rootfs.tgz imported:latest');
      await step("docker image inspect --format '{{.Os}}/{{.Architecture}}' imported:latest", 'linux/amd64');
      await makes('55a8b44157da', 'docker import --platform=linux/arm/v7 ./rootfs.tgz imported:arm');
      await step(
        "docker image inspect --format '{{.Os}}/{{.Architecture}}/{{.Variant}}' imported:arm",
        'linux/arm/v7',
      );
    });
  });

  test('tag, by ID, by name, by name and tag, and for a private registry', async () => {
    await store.load(
      { id: '0e5574283393', tags: ['httpd:latest'], age: '2 days' },
      { id: '1f5574283393', tags: ['httpd:test'], age: '3 days' },
    );
    const names = async (id: string): Promise<string[]> =>
      (await inspect('{{join .RepoTags " "}}', id)).split(' ').sort();
    await step('docker tag 0e5574283393 fedora/httpd:version1.0', '');
    expect(await names('0e5574283393')).toEqual(['fedora/httpd:version1.0', 'httpd:latest']);
    await step('docker rmi fedora/httpd:version1.0 > out; docker tag httpd fedora/httpd:version1.0', '');
    expect(await names('0e5574283393')).toEqual(['fedora/httpd:version1.0', 'httpd:latest']);
    await step('docker image tag httpd:test fedora/httpd:version1.0.test', '');
    expect(await names('1f5574283393')).toEqual(['fedora/httpd:version1.0.test', 'httpd:test']);
    await step('docker tag 0e5574283393 myregistryhost:5000/fedora/httpd:version1.0', '');
    await step(
      'docker images myregistryhost:5000/fedora/httpd',
      `
REPOSITORY                         TAG          IMAGE ID       CREATED      SIZE
myregistryhost:5000/fedora/httpd   version1.0   0e5574283393   2 days ago   5B`,
    );
    // Without a tag it is latest; a tag that is there moves.
    await step('docker tag httpd:test example.com:5000/team/my-app', '');
    await step('docker tag httpd:test httpd', '');
    expect(await names('1f5574283393')).toEqual([
      ...[
        'example.com:5000/team/my-app:latest',
        'fedora/httpd:version1.0.test',
        'httpd:latest',
        'httpd:test',
      ],
    ]);
    await refused('docker tag nope x', 'No such image: nope:latest');
    await refused('docker tag httpd UPPER', 'UPPER', 125);
  });

  describe('commit', () => {
    const path = 'PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin';
    beforeEach(async () => {
      await store.load({
        id: 'd0e008c6cf02',
        tags: ['ubuntu:24.04'],
        age: '7 days',
        config: { config: { Env: ['HOME=/', path], Cmd: ['/bin/bash'] } },
      });
      store.means('c3f279d17e0a', (await store.run('docker create ubuntu:24.04')).stdout.trim());
      await step('head -c 335 /dev/zero > new && docker cp -q new c3f279d17e0a:/new', '');
    });

    test('a container', async () => {
      await makes('f5283438590d', 'docker commit c3f279d17e0a  svendowideit/testimage:version3');
      await step(
        'docker images svendowideit/testimage',
        `
REPOSITORY                        TAG                 IMAGE ID            CREATED             SIZE
svendowideit/testimage            version3            f5283438590d        16 seconds ago      335.7 MB`,
      );
    });

    test('with new configurations', async () => {
      await makes(
        'f5283438590d',
        'docker commit --change "ENV DEBUG=true" c3f279d17e0a  svendowideit/testimage:version3',
      );
      await step('docker inspect -f "{{ .Config.Env }}" f5283438590d', `[HOME=/ ${path} DEBUG=true]`);
    });

    test('with new CMD and EXPOSE instructions, an author and a message', async () => {
      await makes(
        'f5283438590d',
        `docker commit --change='CMD ["apachectl", "-DFOREGROUND"]' -c "EXPOSE 80" c3f279d17e0a  svendowideit/testimage:version4`,
      );
      expect(await inspect('{{json .Config.Cmd}} {{json .Config.ExposedPorts}}', 'f5283438590d')).toBe(
        '["apachectl","-DFOREGROUND"] {"80/tcp":{}}',
      );
      await step('docker create --name web svendowideit/testimage:version4 > out', '');
      await step(
        `docker ps -a --filter name=web --format 'table {{.Image}}\\t{{.Command}}\\t{{.Names}}'`,
        `
IMAGE                               COMMAND                  NAMES
svendowideit/testimage:version4     "apachectl -DFOREGRO…"   web`,
      );
      await makes(
        'a5283438590d',
        'docker commit -a "John Hannibal Smith <hannibal@a-team.com>" -m "Added Apache to Fedora base image" c3f279d17e0a docker:scm',
      );
      expect(await inspect('{{.Author}}: {{.Comment}}', 'docker:scm')).toBe(
        'John Hannibal Smith <hannibal@a-team.com>: Added Apache to Fedora base image',
      );
      // image_history.md: what was committed comes first, then the image that it was made from, which is known here.
      await step(
        'docker history --format "{{.ID}} {{.CreatedBy}} {{.Comment}}" docker:scm',
        `a5283438590d /bin/bash Added Apache to Fedora base image
d0e008c6cf02 test`,
      );
    });
  });

  test('export gives the same to standard output and to a file', async () => {
    await store.load({ id: 'd0e008c6cf02', tags: ['ubuntu:24.04'] });
    await store.run('docker create --name red_panda ubuntu:24.04');
    await step('docker export red_panda > latest.tar', '');
    await step('docker export --output="latest2.tar" red_panda', '');
    const digest = (file: string): string =>
      createHash('sha256')
        .update(readFileSync(at(file)))
        .digest('hex');
    expect(digest('latest.tar')).toBe(digest('latest2.tar'));
    await makes('111111111111', 'docker export red_panda | docker import - exampleimagelocal:new');
  });

  test('an archive of docker 25 is loaded under both of its names', async () => {
    const built = image(someLayers('both', 1));
    writeFileSync(
      at('two.tar'),
      readFileSync(store.scratch.tar(dockerSave25([{ image: built, tags: ['one:1', 'two:2'] }]))),
    );
    await step('docker load -i two.tar', 'Loaded image: one:1\nLoaded image: two:2');
    await step('docker load -i two.tar', 'Loaded image: one:1\nLoaded image: two:2');
  });
});
