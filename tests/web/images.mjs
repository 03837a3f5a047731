// Images for the page to show, pushed as a client would.

import { createHash } from 'node:crypto';
import { gzipSync } from 'node:zlib';

const OCI = 'application/vnd.oci.image';

// A tar of files; a name that ends with a slash is a directory.
function tar(files) {
  const blocks = [];
  for (const [name, content] of Object.entries(files)) {
    const body = Buffer.from(content);
    const header = Buffer.alloc(512);
    header.write(name, 0);
    header.write('0000644\0', 100);
    header.write('0000000\0', 108);
    header.write('0000000\0', 116);
    header.write(body.length.toString(8).padStart(11, '0') + '\0', 124);
    header.write('14000000000\0', 136);
    header.write('        ', 148);
    header.write(name.endsWith('/') ? '5' : '0', 156);
    header.write('ustar\x0000', 257);
    const sum = header.reduce((all, byte) => all + byte, 0);
    header.write(sum.toString(8).padStart(6, '0') + '\0 ', 148);
    blocks.push(header, body, Buffer.alloc((512 - (body.length % 512)) % 512));
  }
  blocks.push(Buffer.alloc(1024));
  return gzipSync(Buffer.concat(blocks));
}

const sha256 = (bytes) => 'sha256:' + createHash('sha256').update(bytes).digest('hex');

export class Registry {
  constructor(base, user) {
    this.base = base;
    this.auth = { authorization: 'Basic ' + Buffer.from(`${user}:${user}`).toString('base64') };
  }

  async send(method, path, headers, body) {
    const answer = await fetch(this.base + path, {
      method, headers: { ...this.auth, ...headers }, body,
    });
    if (!answer.ok) {
      throw new Error(`${method} ${path}: ${answer.status} ${await answer.text()}`);
    }
    return answer;
  }

  async blob(name, bytes, mediaType) {
    const digest = sha256(bytes);
    await this.send('POST', `/v2/${name}/blobs/uploads/?digest=${digest}`, {}, bytes);
    return { mediaType, digest, size: bytes.length };
  }

  async manifest(name, reference, manifest) {
    const bytes = Buffer.from(JSON.stringify(manifest));
    const digest = sha256(bytes);
    const type = { 'content-type': manifest.mediaType };
    await this.send('PUT', `/v2/${name}/manifests/${reference || digest}`, type, bytes);
    return { mediaType: manifest.mediaType, digest, size: bytes.length };
  }

  // An image of layers, each with its files and the instruction that made it.
  async image(name, tag, layers, config = {}, platform = 'amd64') {
    const list = [];
    for (const [files] of layers) {
      list.push(await this.blob(name, tar(files), `${OCI}.layer.v1.tar+gzip`));
    }
    const document = {
      os: 'linux',
      architecture: platform,
      created: '2024-05-06T07:08:09Z',
      config: {
        Env: ['PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin'],
        Cmd: ['serve', '--port', '8080'],
        ...config,
      },
      rootfs: { type: 'layers', diff_ids: [] },
      history: layers.map(([, by]) => ({ created_by: by, created: '2024-05-06T07:08:09Z' })),
    };
    const bytes = Buffer.from(JSON.stringify(document));
    return this.manifest(name, tag, {
      schemaVersion: 2,
      mediaType: `${OCI}.manifest.v1+json`,
      config: await this.blob(name, bytes, `${OCI}.config.v1+json`),
      layers: list,
    });
  }

  async index(name, tag, images) {
    return this.manifest(name, tag, {
      schemaVersion: 2,
      mediaType: `${OCI}.index.v1+json`,
      manifests: images.map(([platform, image]) => ({
        ...image, platform: { os: 'linux', architecture: platform },
      })),
    });
  }

  async sbom(name, subject, packages) {
    const document = { spdxVersion: 'SPDX-2.3', packages };
    const empty = await this.blob(name, Buffer.from('{}'), 'application/vnd.oci.empty.v1+json');
    const bytes = Buffer.from(JSON.stringify(document));
    return this.manifest(name, null, {
      schemaVersion: 2,
      mediaType: `${OCI}.manifest.v1+json`,
      artifactType: 'application/spdx+json',
      config: empty,
      layers: [await this.blob(name, bytes, 'application/spdx+json')],
      subject,
      annotations: { 'org.opencontainers.image.created': '2024-05-06T07:08:09Z' },
    });
  }
}

function status(packages) {
  return Object.entries(packages)
    .map(([name, version]) =>
      `Package: ${name}\nStatus: install ok installed\nVersion: ${version}\n`)
    .join('\n');
}

// What the page is looked at with: something of everything.
export async function fill(registry) {
  const base = [{
    'etc/': '', 'etc/os-release': 'PRETTY_NAME="Debian GNU/Linux 12 (bookworm)"\nID=debian\n',
    'etc/motd': 'Welcome.\n', 'usr/bin/serve': 'x'.repeat(300000), 'usr/share/doc/a': 'doc',
    'var/lib/dpkg/status': status({ bash: '5.2.15-2', libc6: '2.36-9', openssl: '3.0.11-1' }),
  }, '/bin/sh -c #(nop) ADD file:0a1b in / '];
  const config = { Labels: {
    'org.opencontainers.image.description': 'The team’s web service, with its tools.',
    'org.opencontainers.image.source': 'https://git.example.com/team/app',
  }, ExposedPorts: { '8080/tcp': {} }, WorkingDir: '/srv', User: 'nobody' };
  const one = [base, [{
    'srv/': '', 'srv/app.conf': 'listen = 8080\n', 'usr/bin/serve': 'y'.repeat(310000),
  }, 'COPY app.conf /srv/ # buildkit'], [{
    'etc/.wh.motd': '', 'var/log/build.log': 'line\n'.repeat(2000),
  }, 'RUN /bin/sh -c apt-get update && apt-get install -y --no-install-recommends openssl && ' +
     'rm -rf /var/lib/apt/lists/* # buildkit']];
  const two = [base, [{
    'srv/': '', 'srv/app.conf': 'listen = 8080\nworkers = 4\n', 'srv/new.txt': 'new\n',
    'var/lib/dpkg/status': status({ bash: '5.2.15-2', libc6: '2.36-9', openssl: '3.0.13-1',
      curl: '7.88.1-10' }),
  }, 'RUN /bin/sh -c make install # buildkit']];
  const first = await registry.image('team/app', '1.0', one, config);
  await registry.image('team/app', '1.1', two, { ...config, User: 'app' });
  await registry.image('team/app', 'latest', one, config);
  await registry.image('team/app', 'latest', two, { ...config, User: 'app' });
  const arm = await registry.image('team/app', null, two, config, 'arm64');
  await registry.index('team/app', 'multi', [['amd64', first], ['arm64', arm]]);
  await registry.sbom('team/app', first, [
    { name: 'bash', versionInfo: '5.2.15-2', licenseDeclared: 'GPL-3.0-or-later' },
    { name: 'libc6', versionInfo: '2.36-9', licenseDeclared: 'LGPL-2.1-or-later' },
    { name: 'openssl', versionInfo: '3.0.11-1', licenseDeclared: 'Apache-2.0' },
  ]);
  for (let n = 1; n <= 12; n += 1) {
    await registry.image('ci/builds', `build-${String(n).padStart(4, '0')}`, [base]);
  }
  await registry.image(
    'a/very/long/name/of/a/repository/that/has-many-parts/and-does-not-fit', 'v1', [base]);
  return { first: first.digest, arm: arm.digest };
}
