/** The data of generate.go in our own terms. */
import { Float, Nil, typed } from '../../src/cli/go-template/template.js';

const config = typed('*main.config', {
  User: '',
  ExposedPorts: typed('map[string]struct {}', {
    '80/tcp': typed('struct {}', {}),
    '443/tcp': typed('struct {}', {}),
  }),
  Env: ['PATH=/usr/bin:/bin', 'LANG=C.UTF-8'],
  Cmd: ['/bin/bash'],
  Labels: { version: '24.04', 'org.opencontainers.image.title': 'ubuntu', 'a-b': 'dash' },
  WorkingDir: '',
});

const image = typed('*main.image', {
  ID: 'sha256:4dd97cefde62cf2d6bcfd8f2c0300a24fbcddbe0ebcd577cc8b420c29106869a',
  RepoTags: ['ubuntu:latest', 'ubuntu:24.04'],
  Config: config,
  Size: 72945123n,
  RootFS: typed('main.rootFS', { Type: 'layers', Layers: ['sha256:aa', 'sha256:bb', 'sha256:cc'] }),
  Ratio: 0.25,
  Ok: true,
  Matrix: typed('[][]int', [typed('[]int', [1, 2]), typed('[]int', [3])]),
  NoLabels: new Nil('map[string]string'),
  NoList: new Nil('[]string'),
  Nothing: new Nil('*main.config'),
  Html: `<a href='x'>"&"</a>`,
  Short(): string {
    return image.ID.slice(7, 19);
  },
  Label(name: string): string {
    return (config.Labels as Record<string, string>)[name] ?? '';
  },
  Fail(): never {
    throw new Error('it failed');
  },
});

export const DATA: Record<string, unknown> = {
  image,
  json: {
    Name: 'web',
    Count: 3,
    Half: 0.5,
    On: true,
    Off: false,
    Null: null,
    Tags: ['a', 1, null, true, new Float(2.5)],
    Empty: typed('[]interface {}', []),
    Map: { b: 2, a: 'one', c: null, B: 0 },
    Text: 'héllo, 世界',
    Deep: { X: typed('map[string]interface {}', { Y: 'found' }) },
    Ports: {
      '80/tcp': [typed('map[string]interface {}', { HostIp: '0.0.0.0', HostPort: '8080' })],
    },
  },
  string: 'text:with:colon',
  int: 42,
  nil: null,
  list: ['x', 'y', 'z'],
  ints: new Map([
    [10, 'ten'],
    [9, 'nine'],
    [-1, 'minus'],
  ]),
};
