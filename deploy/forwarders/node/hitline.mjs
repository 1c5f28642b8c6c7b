/*
 * Pageviews of a Node server to Hitline: written to a spool on disk, and shipped from there by the same process.
 *
 *     import { Hitline } from './hitline.mjs';
 *     const hitline = new Hitline({ spool: '/var/spool/hitline', url: 'http://127.0.0.1:8080', token, secret });
 *     app.use(hitline.middleware());              // Express; or: hitline.watch(request, response) in a plain server
 *     process.on('SIGTERM', () => hitline.stop().then(() => process.exit()));
 *
 * What was not sent when the process ended is sent by the next one.  Every pageview has its page_id from the start, so
 * that repeating stores nothing twice.  Node 18 and later, no packages.
 */

import { createHmac, randomUUID } from 'node:crypto';
import { mkdirSync, openSync, closeSync, writeSync, existsSync, renameSync, readdirSync, readFileSync, unlinkSync } from 'node:fs';
import { join } from 'node:path';

const BATCH_ITEMS = 500;
const BATCH_BYTES = 1024 * 1024;
const HALF_HOUR_MS = 30 * 60 * 1000;
const STATIC = /\.(js|mjs|css|map|json|xml|txt|png|jpe?g|gif|webp|avif|ico|svg|woff2?|ttf|otf|eot|mp[34]|webm|pdf|zip|gz|jar)$/i;

const sleep = (ms) => new Promise((resolve) => setTimeout(resolve, ms));
// Node has a header's bytes as latin-1; what is not UTF-8 becomes U+FFFD.
const text = (value = '') => Buffer.from(value, 'latin1').toString('utf8');

export class Hitline {
    /* behindProxy: believe the last address of X-Forwarded-For. */
    constructor({ spool, url, token, secret, behindProxy = false, everyMs = 1000 }) {
        Object.assign(this, { spool, token, secret, behindProxy });
        this.url = `${url.replace(/\/$/, '')}/api/ingest/server/pageviews?errors=all`;
        mkdirSync(spool, { recursive: true, mode: 0o700 });
        this.current = join(spool, `current-${process.pid}.ndjson`);
        this.file = null;
        this.stopping = false;
        this.shipping = this.run(everyMs);
    }

    middleware() {
        return (request, response, next) => { this.watch(request, response); next(); };
    }

    /* Spool a pageview when the response is done, if somebody looks at the page. */
    watch(request, response) {
        const target = request.originalUrl ?? request.url;
        response.once('finish', () => {
            const { headers } = request;
            const purpose = [headers['sec-purpose'], headers.purpose, headers['x-moz']].join(' ');
            const seen = request.method === 'GET' && [200, 304].includes(response.statusCode);
            if (seen && !STATIC.test(target.split('?')[0]) && !/prefetch|preview/i.test(purpose)) {
                this.append(this.pageview(request, target));
            }
        });
    }

    pageview(request, target) {
        const { headers, socket } = request;
        const now = new Date();
        const forwarded = this.behindProxy ? headers['x-forwarded-for'] : undefined;
        const address = forwarded ? forwarded.split(',').pop().trim() : socket.remoteAddress;
        const agent = text(headers['user-agent']).trim() || '-'; // a visitor without one; Hitline flags it as a bot
        return {
            url: `${socket.encrypted ? 'https' : 'http'}://${headers.host}${target}`,
            timestamp: now.toISOString(),
            visitor_ip: address,
            user_agent: agent,
            referrer: text(headers.referer),
            language: headers['accept-language'],
            dnt: headers.dnt === '1' || headers['sec-gpc'] === '1',
            session_id: this.session(address, agent, now),
            page_id: randomUUID(),
        };
    }

    /* A visitor's half hour, keyed: without a key, an address could be found by trying all of IPv4. */
    session(address, agent, now) {
        const visitor = [address, agent, Math.floor(now / HALF_HOUR_MS)].join('\n');
        const raw = createHmac('sha256', this.secret).update(visitor).digest().subarray(0, 16);
        raw[6] = (raw[6] & 0x0f) | 0x80; // version 8 (RFC 9562)
        raw[8] = (raw[8] & 0x3f) | 0x80;
        return raw.toString('hex').replace(/^(.{8})(.{4})(.{4})(.{4})/, '$1-$2-$3-$4-');
    }

    append(pageview) {
        this.file ??= openSync(this.current, 'a', 0o600);
        writeSync(this.file, JSON.stringify(pageview) + '\n');
    }

    async stop() {
        this.stopping = true;
        await this.shipping;
    }

    async run(everyMs) {
        while (!this.stopping) {
            await sleep(everyMs);
            for (const path of this.take()) {
                if (await this.ship(path)) unlinkSync(path);
            }
        }
    }

    /* The files that are to be shipped: what this process has written, and what processes left that are gone. */
    take() {
        if (this.file !== null) {
            closeSync(this.file);
            this.file = null;
            renameSync(this.current, join(this.spool, `ready-${process.pid}-${Date.now()}-${randomUUID()}.ndjson`));
        }
        const ours = (name) => {
            const pid = Number(name.match(/^(?:current|ready)-(\d+)/)?.[1]);
            return name.endsWith('.ndjson') && pid && (pid === process.pid ? name.startsWith('ready') : !isAlive(pid));
        };
        return readdirSync(this.spool).filter(ours).sort().map((name) => join(this.spool, name));
    }

    /* True when all of a file was taken or refused for good; false: stopped before. */
    async ship(path) {
        if (!existsSync(path)) return false; // another process has adopted it
        for (const batch of batches(readFileSync(path, 'utf8').split('\n').filter(Boolean))) {
            if (!(await this.deliver(batch))) return false;
        }
        return existsSync(path);
    }

    async deliver(items) {
        let waitMs = 500;
        while (items.length) {
            const [status, retryAfterMs, body] = await this.post(items);
            if (status === 202) {
                items = body.errors.filter((each) => each.status >= 500).map((each) => items[each.index]);
                if (!items.length) return true;
            } else if (status === 413 && items.length > 1) {
                const half = Math.floor(items.length / 2);
                if (!(await this.deliver(items.slice(0, half)))) return false;
                items = items.slice(half);
                continue;
            } else if ([400, 404, 413].includes(status)) {
                console.error(`hitline: ${items.length} pageviews were refused for good: ${body.message}`);
                return true;
            }
            if (this.stopping) return false; // the next process goes on
            // 401 and 403 too: nothing is lost while somebody mends the token
            console.error(`hitline: status ${status || 'none'}, repeating ${items.length} pageviews`);
            await sleep(Math.max(waitMs, retryAfterMs));
            waitMs = Math.min(waitMs * 2, 30000);
        }
        return true;
    }

    /* [status, Retry-After, body]; status 0 where there was no answer. */
    async post(items) {
        try {
            const answer = await fetch(this.url, {
                method: 'POST',
                headers: { Authorization: `Bearer ${this.token}`, 'Content-Type': 'application/x-ndjson' },
                body: items.join('\n'),
                signal: AbortSignal.timeout(30000),
            });
            return [answer.status, 1000 * (parseInt(answer.headers.get('Retry-After'), 10) || 0), await answer.json()];
        } catch {
            return [0, 0, {}];
        }
    }
}

function isAlive(pid) {
    try {
        process.kill(pid, 0);
        return true;
    } catch (error) {
        return error.code === 'EPERM';
    }
}

function* batches(items) {
    let batch = [], bytes = 0;
    for (const item of items) {
        const size = Buffer.byteLength(item);
        if (batch.length && (batch.length >= BATCH_ITEMS || bytes + size > BATCH_BYTES)) {
            yield batch;
            [batch, bytes] = [[], 0];
        }
        batch.push(item);
        bytes += size;
    }
    if (batch.length) yield batch;
}
