/*
 * Pageviews of a site behind Cloudflare, by way of a Cloudflare Queue, which repeats until Hitline has taken them.
 * Not run here: see docs/forwarders/cloudflare-worker.md.  The route of this Worker is the site's own (example.com/*).
 */

const STATIC = /\.(js|mjs|css|map|json|xml|txt|png|jpe?g|gif|webp|avif|ico|svg|woff2?|ttf|otf|eot|mp[34]|webm|pdf|zip|gz|jar)$/i;
const HALF_HOUR_MS = 30 * 60 * 1000;

async function session(address, agent, now, secret) {
    // A visitor's half hour, keyed: without a key, an address could be found by trying all of IPv4.
    const bytes = (text) => new TextEncoder().encode(text);
    const key = await crypto.subtle.importKey('raw', bytes(secret), { name: 'HMAC', hash: 'SHA-256' }, false, ['sign']);
    const visitor = [address, agent, Math.floor(now / HALF_HOUR_MS)].join('\n');
    const raw = new Uint8Array(await crypto.subtle.sign('HMAC', key, bytes(visitor))).slice(0, 16);
    raw[6] = (raw[6] & 0x0f) | 0x80; // version 8 (RFC 9562)
    raw[8] = (raw[8] & 0x3f) | 0x80;
    const hex = [...raw].map((byte) => byte.toString(16).padStart(2, '0')).join('');
    return hex.replace(/^(.{8})(.{4})(.{4})(.{4})/, '$1-$2-$3-$4-');
}

function isPage(request, response) {
    const header = (name) => request.headers.get(name) ?? '';
    const purpose = [header('Sec-Purpose'), header('Purpose'), header('X-Moz')].join(' ');
    const seen = request.method === 'GET' && [200, 304].includes(response.status);
    return seen && !STATIC.test(new URL(request.url).pathname) && !/prefetch|preview/i.test(purpose);
}

async function pageview(request, env) {
    const header = (name) => request.headers.get(name) ?? '';
    const now = new Date();
    const address = header('CF-Connecting-IP');
    const agent = header('User-Agent').trim() || '-'; // a visitor without one; Hitline flags it as a bot
    return {
        url: request.url,
        timestamp: now.toISOString(),
        visitor_ip: address,
        user_agent: agent,
        referrer: header('Referer'),
        language: header('Accept-Language'),
        dnt: header('DNT') === '1' || header('Sec-GPC') === '1',
        session_id: await session(address, agent, now.getTime(), env.HITLINE_SESSION_SECRET),
        page_id: crypto.randomUUID(),
    };
}

export default {
    async fetch(request, env, context) {
        const response = await fetch(request);
        if (isPage(request, response)) {
            context.waitUntil(pageview(request, env).then((item) => env.PAGEVIEWS.send(item)));
        }
        return response;
    },

    async queue(batch, env) {
        let answer;
        try {
            answer = await fetch(`${env.HITLINE_URL}/api/ingest/server/pageviews?errors=all`, {
                method: 'POST',
                headers: { Authorization: `Bearer ${env.HITLINE_TOKEN}`, 'Content-Type': 'application/x-ndjson' },
                body: batch.messages.map((message) => JSON.stringify(message.body)).join('\n'),
            });
        } catch {
            return batch.retryAll({ delaySeconds: 10 });
        }
        if ([400, 404, 413].includes(answer.status)) {
            console.error(`hitline: ${batch.messages.length} pageviews were refused for good`, await answer.text());
            return batch.ackAll();
        }
        if (answer.status !== 202) { // the ids are part of the messages: repeating stores nothing twice
            return batch.retryAll({ delaySeconds: Number(answer.headers.get('Retry-After')) || 10 });
        }
        return batch.ackAll();
    },
};
