// A pageview as a line of JSON, for nginx's access_log: with a session, which nginx alone can't make.
// njs 0.7 and later.

import crypto from 'crypto';

const STATIC = /\.(js|mjs|css|map|json|xml|txt|png|jpe?g|gif|webp|avif|ico|svg|woff2?|ttf|otf|eot|mp[34]|webm|pdf|zip|gz|jar)$/i;
const HALF_HOUR_MS = 30 * 60 * 1000;

function asUuid(hex) {
    // Version 8 (RFC 9562): made by a rule of one's own.
    const variant = (parseInt(hex[16], 16) & 3 | 8).toString(16);
    return [hex.slice(0, 8), hex.slice(8, 12), '8' + hex.slice(13, 16), variant + hex.slice(17, 20), hex.slice(20, 32)].join('-');
}

// Whether the request is a page that somebody looks at.
function page(r) {
    const headers = r.headersIn;
    const purpose = [headers['Sec-Purpose'], headers['Purpose'], headers['X-Moz']].join(' ');
    const seen = r.method === 'GET' && (r.status === 200 || r.status === 304);
    return seen && !STATIC.test(r.uri) && !/prefetch|preview/i.test(purpose) ? '1' : '';
}

// A visitor without a user agent has "-", which Hitline flags as a bot.
function agent(r) {
    return (r.headersIn['User-Agent'] || '').trim() || '-';
}

// A visitor's half hour, keyed: without a key, an address could be found by trying all of IPv4.
function session(r, now) {
    const visitor = [r.remoteAddress, agent(r), Math.floor(now / HALF_HOUR_MS)].join('\n');
    return asUuid(crypto.createHmac('sha256', r.variables.hitline_secret).update(visitor).digest('hex'));
}

function pageview(r) {
    const headers = r.headersIn;
    const now = Date.now();
    return JSON.stringify({
        url: `${r.variables.scheme}://${r.variables.host}${r.variables.request_uri}`,
        timestamp: new Date(now).toISOString(),
        visitor_ip: r.remoteAddress,
        user_agent: agent(r),
        referrer: headers['Referer'],
        language: headers['Accept-Language'],
        dnt: headers['DNT'] === '1' || headers['Sec-GPC'] === '1',
        session_id: session(r, now),
        page_id: asUuid(r.variables.request_id),
    });
}

export default {page, pageview};
