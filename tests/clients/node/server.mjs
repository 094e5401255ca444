// What the programs on Node.js share: a server that can be killed, and checks that end the program.

import { spawn } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { createRequire } from 'node:module';
import { connect, createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';

// A redis-server to run instead of claimlog, and whether it is spared the kill.
const REDIS = process.env.CLAIMLOG_CLIENTS_REDIS;
export const UNHARMED = process.env.CLAIMLOG_CLIENTS_SELF === '1';

// The command that tells whether a server has it, or since which version, where it is an option.
const FEATURES = {
  xdelex: 'XDELEX',
  xackdel: 'XACKDEL',
  claim: [8, 4],
  xcfgset: 'XCFGSET',
  idmp: [8, 6],
  xnack: 'XNACK',
  maxcount: [8, 10],
};

// What the server has, by its COMMAND LIST and its INFO.
export function features(commands, info) {
  const known = new Set(commands.map((name) => name.toUpperCase()));
  const [major, minor] = /redis_version:(\d+)\.(\d+)/.exec(info).slice(1).map(Number);
  const there = (told) => known.has(told) || major > told[0] || (major === told[0] && minor >= told[1]);
  return new Set(Object.keys(FEATURES).filter((name) => there(FEATURES[name])));
}

// For the last line.
export function leftOut(has) {
  const absent = Object.keys(FEATURES).filter((name) => !has.has(name));
  return absent.length ? `; not there yet: ${absent.join(', ')}` : '';
}

// None of those that the kernel gives out itself: while the server is down, a connection that looks for it could get
// its port.
async function freePort() {
  for (;;) {
    const port = 10_000 + Math.floor(Math.random() * 22_000);
    const probe = createServer().listen(port, '127.0.0.1');
    const free = await new Promise((done) => {
      probe.once('listening', () => probe.close(() => done(true)));
      probe.once('error', () => done(false));
    });
    if (free) return port;
  }
}

export class Server {
  static async start() {
    const server = new Server();
    server.dir = mkdtempSync(join(tmpdir(), 'clients-'));
    server.port = await freePort();
    await server.up();
    // Whatever ends this program ends the server too.
    process.once('exit', () => {
      server.process.kill('SIGKILL');
      rmSync(server.dir, { recursive: true, force: true });
    });
    return server;
  }

  async up() {
    const where = ['--bind', '127.0.0.1', '--port', String(this.port), '--dir', this.dir];
    const [program, options] = REDIS ? [REDIS, ['--save', '']] : [process.env.CLAIMLOG_BINARY, ['serve']];
    this.process = spawn(program, [...options, ...where], { stdio: ['ignore', 'ignore', 'inherit'] });
    this.ended = new Promise((ended) => this.process.once('exit', (code) => ended(code)));
    const deadline = Date.now() + 20000;
    while (!(await this.answers())) {
      if (this.process.exitCode !== null) fail(`the server ended with ${this.process.exitCode} instead of serving`);
      if (Date.now() > deadline) fail('the server does not answer');
      await sleep(10);
    }
  }

  answers() {
    return new Promise((answer) => {
      const socket = connect(this.port, '127.0.0.1', () => socket.write('PING\r\n'));
      const say = (what) => (answer(what), socket.destroy());
      socket.once('data', (bytes) => say(bytes.toString() === '+PONG\r\n'));
      socket.once('error', () => say(false)).once('close', () => say(false));
    });
  }

  // No warning, no chance to write anything down; then again on the same directory, after so many milliseconds.
  async crash(down = 0) {
    if (UNHARMED) return;
    this.process.kill('SIGKILL');
    await this.ended;
    await sleep(down);
    await this.up();
  }

  async stop() {
    this.process.kill('SIGTERM');
    check('SIGTERM ends the server', await this.ended, 0);
  }
}

export function fail(why) {
  console.log(`MISMATCH: ${why}`);
  process.exit(1);
}

// Objects without a prototype, as node-redis makes them, are equal to those with one.
export function check(what, got, want) {
  const [is, must] = [JSON.stringify(got ?? null), JSON.stringify(want ?? null)];
  if (is !== must) fail(`${what}\n    is      ${is}\n    must be ${must}`);
  console.log(`    ${what}`);
}

export async function refused(what, call, text) {
  const error = await call().then(() => null, (error) => error);
  check(`${what}: ${error?.message}`, error?.message.includes(text), true);
}

export async function until(what, condition) {
  const deadline = Date.now() + 15000;
  while (!(await condition())) {
    if (Date.now() > deadline) fail(`${what} never comes true`);
    await sleep(10);
  }
  console.log(`    ${what}`);
}

// Which version of a package is here. Not every package lets its package.json be imported.
export function version(name) {
  const path = createRequire(import.meta.url).resolve(name);
  const root = path.slice(0, path.lastIndexOf(`node_modules/${name}/`));
  return JSON.parse(readFileSync(join(root, 'node_modules', name, 'package.json'))).version;
}

// Numbers that a producer had answered, and those found in the stream: all there, in order, and only what was under
// way when the server was killed may be there twice, or without an answer.
export function nothingLost(what, answered, found) {
  const twice = found.filter((n, at) => found.indexOf(n) !== at);
  check(`${what}: ${answered.length} answered, none lost`, answered.filter((n) => !found.includes(n)), []);
  check('in order', found.every((n, at) => at === 0 || n >= found[at - 1]), true);
  check('at most one twice', twice.length <= 1, true);
  check('at most one unanswered', new Set(found).size - answered.length <= 1, true);
}

export { sleep };
