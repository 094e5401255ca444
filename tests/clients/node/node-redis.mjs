// node-redis over RESP3 and RESP2: its typed stream commands, transactions, and clients that live through a kill -9.
// A command that was under way is refused, and what is sent afterwards waits for the new connection.

import { createClient, WatchError } from 'redis';
import { Server, UNHARMED, check, features, leftOut, nothingLost, refused, sleep, until, version } from './server.mjs';

const S = 'orders', G = 'packers';
const ids = (messages) => messages.map(({ id }) => id);
const of = (reply) => (reply === null ? [] : reply.find(({ name }) => name === S).messages);
const rows = async (r) => (await r.xPendingRange(S, G, '-', '+', 100))
  .map(({ id, consumer, deliveriesCounter }) => [id, consumer, deliveriesCounter]);

async function streams(r, has) {
  const book = { item: 'book', title: 'L\u2019\u00c9tranger' };
  const first = await r.xAdd(S, '*', book);
  check('an entry comes back as it was', await r.xRange(S, '-', '+'), [{ id: first, message: book }]);
  check('NOMKSTREAM', await r.xAddNoMkStream('none', '*', { a: '1' }), null);
  await refused('an id that is too small', () => r.xAdd(S, '1-1', { a: '1' }), 'equal or smaller');
  check('a group', await r.xGroupCreate(S, G, '$', { MKSTREAM: true }), 'OK');
  await refused('the same again', () => r.xGroupCreate(S, G, '0'), 'BUSYGROUP');
  check('XGROUP SETID', await r.xGroupSetId(S, G, '0'), 'OK');
  const made = [await r.xGroupCreateConsumer(S, G, 'anna'), await r.xGroupCreateConsumer(S, G, 'anna')];
  check('a consumer', made.map(Number), [1, 0]);
  const trim = { strategy: 'MAXLEN', strategyModifier: '~', threshold: 1000, limit: 10 };
  const more = [await r.xAdd(S, '*', { n: '1' }, { TRIM: trim }), await r.xAdd(S, '*', { n: '2' })];
  check('anna reads', ids(of(await r.xReadGroup(G, 'anna', { key: S, id: '>' }, { COUNT: 3 }))), [first, ...more]);
  check('nothing is left', await r.xReadGroup(G, 'anna', { key: S, id: '>' }, { BLOCK: 10 }), null);
  const found = await r.xRead([{ key: S, id: first }, { key: 'none', id: '0' }], { COUNT: 1 });
  check('XREAD', ids(of(found)), more.slice(0, 1));
  const taken = await r.xClaim(S, G, 'bert', 0, more[0], { RETRYCOUNT: 5, IDLE: 9000 });
  check('bert claims', taken, [{ id: more[0], message: { n: '1' } }]);
  // IDLE again: without it the entry would be as young as carl's below, and which of them is older a question of luck.
  check('only the id', await r.xClaimJustId(S, G, 'bert', 0, [more[0]], { IDLE: 9000 }), [more[0]]);
  await r.xDel(S, more[1]);
  const claimed = await r.xAutoClaim(S, G, 'carl', 0, '0', { COUNT: 1 });
  check('XAUTOCLAIM', [claimed.nextId, ids(claimed.messages), claimed.deletedMessages], [more[0], [first], []]);
  check('and one that was deleted', (await r.xAutoClaimJustId(S, G, 'carl', 0, more[1])).deletedMessages, [more[1]]);
  check('XPENDING', await r.xPending(S, G), { pending: 2, firstId: first, lastId: more[0],
    consumers: [{ name: 'bert', deliveriesCounter: 1 }, { name: 'carl', deliveriesCounter: 1 }] });
  check('who has what', await rows(r), [[first, 'carl', 2], [more[0], 'bert', 5]]);
  const [group] = await r.xInfoGroups(S);
  check('XINFO GROUPS', [group.name, group.consumers, group.pending, group['last-delivered-id']], [G, 3, 2, more[1]]);
  const info = await r.xInfoStream(S);
  check('XINFO STREAM', [info.length, info['first-entry'].id, info['max-deleted-entry-id']], [2, first, more[1]]);
  const consumers = (await r.xInfoConsumers(S, G)).map(({ name, pending }) => [name, pending]);
  check('XINFO CONSUMERS', consumers, [['anna', 0], ['bert', 1], ['carl', 1]]);

  const [length, id, after] = await r.multi().xLen(S).xAdd(S, '*', { t: '1' }).xLen(S).exec();
  check('MULTI', after - length, 1);
  check('sent together', await Promise.all([r.xDel(S, id), r.xAck(S, G, id), r.xTrim(S, 'MAXLEN', 100)]), [1, 0, 0]);
  const other = await r.duplicate().connect();
  await r.watch(S);
  await other.xAdd(S, '*', { between: '1' });
  const lost = await r.multi().xAdd(S, '*', { lost: '1' }).exec().then(() => null, (error) => error);
  check('WATCH', lost instanceof WatchError, true);
  other.destroy();

  if (has.has('idmp')) {
    const IDMP = { pid: 'producer', iid: 'job-1' };
    const once = await r.xAdd('once', '*', { n: '1' }, { IDMP });
    check('IDMP', await r.xAdd('once', '*', { n: '2' }, { IDMP }), once);
  }
  if (has.has('xcfgset')) check('XCFGSET', await r.xCfgSet(S, { IDMP_DURATION: 200, IDMP_MAXSIZE: 50 }), 'OK');
  if (has.has('claim')) {
    const got = of(await r.xReadGroup(G, 'dora', { key: S, id: '>' }, { CLAIM: 0 }));
    check('XREADGROUP CLAIM', got.map((m) => m.deliveriesCounter), [5, 2, 0]);
    check('the oldest first', ids(got).slice(0, 2), [more[0], first]);
  }
  if (has.has('xnack')) {
    check('XNACK', await r.xNack(S, G, 'FAIL', more[0], { RETRYCOUNT: 3 }), 1);
    check('is nobody\u2019s', (await rows(r)).find(([id]) => id === more[0]), [more[0], '', 3]);
  }
  if (has.has('xackdel')) check('XACKDEL', await r.xAckDel(S, G, [first, '1-1'], 'DELREF'), [1, -1]);
  if (has.has('xdelex')) check('XDELEX', await r.xDelEx(S, '1-1', 'KEEPREF'), [-1]);
  if (has.has('maxcount')) check('MAXCOUNT', of(await r.xRead({ key: S, id: '0' }, { MAXCOUNT: 1 })).length, 1);
}

async function throughTheCrash(server, r) {
  const picture = async () => [await rows(r), await r.xRange(S, '-', '+'), await r.xInfoGroups(S)];
  await r.xReadGroup(G, 'anna', { key: S, id: '>' });
  await r.xGroupCreateConsumer(S, G, 'emil');
  const before = await picture();
  const connect = () => r.duplicate().on('error', () => {}).connect();
  const [waiting, producing] = [await connect(), await connect()];
  const cut = waiting.xReadGroup(G, 'emil', { key: S, id: '>' }, { BLOCK: 0 }).then(of, (error) => error);
  const answered = [];
  let going = true;
  const produced = (async () => {
    for (let n = 0; going;) {
      try {
        await producing.xAdd('numbers', '*', { n: String(n) });
        answered.push(n++);
      } catch {
        // It may have been done or not, so it is sent again.
      }
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
  nothingLost('the producer', answered, (await r.xRange('numbers', '-', '+')).map(({ message }) => Number(message.n)));
  const late = await r.xAdd(S, '*', { late: '1' });
  const got = await cut;
  check('the reader was told', UNHARMED ? ids(got) : got instanceof Error, UNHARMED ? [late] : true);
  if (!UNHARMED) {
    check('and reads on', ids(of(await waiting.xReadGroup(G, 'emil', { key: S, id: '>' }, { BLOCK: 0 }))), [late]);
  }
  check('once', (await rows(r)).filter(([id]) => id === late), [[late, 'emil', 1]]);
  waiting.destroy();
  producing.destroy();
}

let has;
for (const RESP of [3, 2]) {
  console.log(`RESP${RESP}`);
  const server = await Server.start();
  const socket = { port: server.port, host: '127.0.0.1', reconnectStrategy: () => 20 };
  const r = await createClient({ socket, RESP }).on('error', () => {}).connect();
  has = features(await r.commandList(), await r.info('server'));
  check('the protocol', (await r.sendCommand(['CLIENT', 'INFO'])).includes(`resp=${RESP}`), true);
  await streams(r, has);
  await throughTheCrash(server, r);
  await r.close();
  await server.stop();
}
console.log(`node-redis ${version('redis')}, RESP3 and RESP2${leftOut(has)}`);
process.exit(0);
