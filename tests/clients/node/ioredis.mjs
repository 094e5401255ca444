// ioredis over RESP3 (both of its reply mappings) and RESP2. Its connections find the server again by themselves
// after a kill -9 and send again what had no answer: a reader that waits, and a producer, do not even notice.

import Redis from 'ioredis';
import { Server, UNHARMED, check, features, leftOut, nothingLost, refused, sleep, until, version } from './server.mjs';

const S = 'orders', G = 'packers';
const ids = (entries) => entries.map(([id]) => id);
// XREAD and XREADGROUP: a list, an object, or keys and values in turn; here the entries of one stream.
const of = (reply, stream = S) => {
  if (reply === null) return [];
  if (!Array.isArray(reply)) return reply[stream];
  const pairs = Array.isArray(reply[0]) ? reply : [reply.slice(0, 2)];
  return pairs.find(([name]) => name === stream)[1];
};
const object = (reply) => Array.isArray(reply)
  ? Object.fromEntries(reply.flatMap((name, at) => (at % 2 ? [] : [[name, reply[at + 1]]]))) : reply;
const rows = async (r) => (await r.xpending(S, G, '-', '+', 100))
  .map(([id, consumer, , count]) => [id, consumer, count]);

async function streams(r, has) {
  const book = ['item', 'book', 'title', 'L\u2019\u00c9tranger'];
  const first = await r.xadd(S, '*', ...book);
  check('an entry comes back as it was', await r.xrange(S, '-', '+'), [[first, book]]);
  check('binary too', (await r.xrangeBuffer(S, '-', '+'))[0][1][3].equals(Buffer.from(book[3])), true);
  check('NOMKSTREAM', await r.xadd('none', 'NOMKSTREAM', '*', 'a', '1'), null);
  await refused('an id that is too small', () => r.xadd(S, '1-1', 'a', '1'), 'equal or smaller');
  check('a group', await r.xgroup('CREATE', S, G, '0'), 'OK');
  await refused('the same again', () => r.xgroup('CREATE', S, G, '0'), 'BUSYGROUP');
  const more = [await r.xadd(S, 'MAXLEN', '~', '1000', '*', 'n', '1'), await r.xadd(S, '*', 'n', '2')];
  const read = await r.xreadgroup('GROUP', G, 'anna', 'COUNT', 3, 'STREAMS', S, '>');
  check('anna reads', ids(of(read)), [first, ...more]);
  check('nothing is left', await r.xreadgroup('GROUP', G, 'anna', 'STREAMS', S, '>'), null);
  check('bert claims', await r.xclaim(S, G, 'bert', 0, more[0], 'RETRYCOUNT', 5), [[more[0], ['n', '1']]]);
  await r.xdel(S, more[1]);
  const [cursor, claimed, gone] = await r.xautoclaim(S, G, 'carl', 0, '0', 'COUNT', 1);
  check('XAUTOCLAIM', [cursor, ids(claimed), gone], [more[0], [first], []]);
  check('and one that was deleted', await r.xautoclaim(S, G, 'carl', 0, more[1]), ['0-0', [], [more[1]]]);
  check('XPENDING', await r.xpending(S, G), [2, first, more[0], [['bert', '1'], ['carl', '1']]]);
  check('who has what', await rows(r), [[first, 'carl', 2], [more[0], 'bert', 5]]);
  const group = object((await r.xinfo('GROUPS', S))[0]);
  check('XINFO GROUPS', [group.name, group.consumers, group.pending, group['last-delivered-id']], [G, 3, 2, more[1]]);
  check('XINFO STREAM', object(await r.xinfo('STREAM', S))['max-deleted-entry-id'], more[1]);

  const [[, length], [, id], [, after]] = await r.multi().xlen(S).xadd(S, '*', 't', '1').xlen(S).exec();
  check('MULTI', after - length, 1);
  check('a pipeline', await r.pipeline().xdel(S, id).xack(S, G, id).exec(), [[null, 1], [null, 0]]);
  await r.watch(S);
  const other = r.duplicate();
  await other.xadd(S, '*', 'between', '1');
  other.disconnect();
  check('WATCH', await r.multi().xadd(S, '*', 'lost', '1').exec(), null);

  if (has.has('idmp')) {
    const once = await r.xadd('once', 'IDMP', 'producer', 'job-1', '*', 'n', 1);
    check('IDMP', await r.xadd('once', 'IDMP', 'producer', 'job-1', '*', 'n', 2), once);
  }
  if (has.has('xcfgset')) check('XCFGSET', await r.call('XCFGSET', S, 'IDMP-MAXSIZE', 50), 'OK');
  if (has.has('claim')) {
    const got = of(await r.xreadgroup('GROUP', G, 'dora', 'CLAIM', 0, 'STREAMS', S, '>'));
    check('XREADGROUP CLAIM', got.find(([id]) => id === more[0])?.[3], 5);
  }
  if (has.has('xnack')) {
    check('XNACK', await r.call('XNACK', S, G, 'FAIL', 'IDS', 1, more[0]), 1);
    check('is nobody\u2019s', (await rows(r)).find(([id]) => id === more[0])[1], '');
  }
  if (has.has('xackdel')) check('XACKDEL', await r.call('XACKDEL', S, G, 'DELREF', 'IDS', 2, first, '1-1'), [1, -1]);
  if (has.has('xdelex')) check('XDELEX', await r.call('XDELEX', S, 'KEEPREF', 'IDS', 1, '1-1'), [-1]);
  if (has.has('maxcount')) check('MAXCOUNT', of(await r.xread('MAXCOUNT', 1, 'STREAMS', S, '0')).length, 1);
}

async function throughTheCrash(server, r) {
  const picture = async () => [await rows(r), await r.xrange(S, '-', '+'), await r.xinfo('GROUPS', S)];
  await r.xreadgroup('GROUP', G, 'anna', 'STREAMS', S, '>');
  await r.xgroup('CREATECONSUMER', S, G, 'emil');
  const before = await picture();
  const [waiting, producing] = [1, 2].map(() => r.duplicate().on('error', () => {}));
  const woken = waiting.xreadgroup('GROUP', G, 'emil', 'BLOCK', 0, 'STREAMS', S, '>');
  const answered = [];
  let going = true;
  const produced = (async () => {
    for (let n = 0; going; n++) {
      await producing.xadd('numbers', '*', 'n', n);
      answered.push(n);
    }
  })();
  await until('the reader waits', async () => /blocked_clients:1/.test(await r.info('clients')));
  await sleep(300);
  await server.crash(100);
  check('after kill -9 everything is as it was', await picture(), before);
  const count = answered.length;
  await until('the producer goes on', () => answered.length > count + 5);
  going = false;
  await produced;
  nothingLost('the producer', answered, (await r.xrange('numbers', '-', '+')).map(([, [, n]]) => Number(n)));
  if (!UNHARMED) await until('the reader waits again', async () => /blocked_clients:1/.test(await r.info('clients')));
  const late = await r.xadd(S, '*', 'late', '1');
  check('the reader gets what comes after', ids(of(await woken)), [late]);
  check('once', (await rows(r)).filter(([id]) => id === late), [[late, 'emil', 1]]);
  waiting.disconnect();
  producing.disconnect();
}

let has;
for (const options of [{ protocol: 3, replyMapping: 'resp3' }, { protocol: 3 }, { protocol: 2 }]) {
  console.log(JSON.stringify(options));
  const server = await Server.start();
  const r = new Redis({ port: server.port, host: '127.0.0.1', retryStrategy: () => 20, ...options });
  r.on('error', () => {});
  has = features(await r.call('COMMAND', 'LIST'), await r.info('server'));
  check('the protocol', (await r.client('INFO')).includes(`resp=${options.protocol}`), true);
  await streams(r, has);
  await throughTheCrash(server, r);
  await r.quit();
  await server.stop();
}
console.log(`ioredis ${version('ioredis')}, RESP3 and RESP2${leftOut(has)}`);
process.exit(0);
