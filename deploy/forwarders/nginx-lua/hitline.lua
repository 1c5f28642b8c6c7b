-- Posts pageviews to Hitline's batch endpoint from nginx itself, without a log file or a shipper.
-- The queue is in shared memory: a reload keeps it, a stop or a crash of nginx loses what was not sent yet.  Where that
-- matters, write a log and ship it (../nginx with ../syslog-ng).

local cjson = require("cjson.safe")

local _M = {}
local BATCH, MAX_BYTES, MAX_WAIT_S = 500, 1024 * 1024, 30
local HALF_HOUR_S = 1800
local settings, queue

local STATIC = [[\.(js|mjs|css|map|json|xml|txt|png|jpe?g|gif|webp|avif|ico|svg|woff2?|ttf|otf|eot|mp[34]|webm|pdf|zip|gz|jar)$]]

local function as_uuid(hex)
    -- Version 8 (RFC 9562): made by a rule of one's own.
    local variant = string.format("%x", bit.bor(bit.band(tonumber(hex:sub(17, 17), 16), 3), 8))
    return table.concat({hex:sub(1, 8), hex:sub(9, 12), "8" .. hex:sub(14, 16), variant .. hex:sub(18, 20), hex:sub(21, 32)}, "-")
end

local function to_hex(bytes)
    return (bytes:gsub(".", function(char) return string.format("%02x", char:byte()) end))
end

-- In log_by_lua: queue the request if somebody looks at its page.
function _M.log()
    local var, status = ngx.var, ngx.status
    if var.request_method ~= "GET" or (status ~= 200 and status ~= 304) or ngx.re.find(var.uri, STATIC, "ijo") then return end
    local purpose = table.concat({var.http_sec_purpose or "", var.http_purpose or "", var.http_x_moz or ""}, " ")
    if ngx.re.find(purpose, "prefetch|preview", "ijo") then return end
    local agent = var.http_user_agent or ""
    if not agent:find("%S") then agent = "-" end  -- a visitor without one; Hitline flags it as a bot
    local now = ngx.now()
    local visitor = table.concat({var.remote_addr, agent, math.floor(now / HALF_HOUR_S)}, "\n")
    local item = cjson.encode({
        url = var.scheme .. "://" .. var.host .. var.request_uri,
        timestamp = os.date("!%Y-%m-%dT%H:%M:%S", now) .. string.format(".%03dZ", math.floor(now * 1000) % 1000),
        visitor_ip = var.remote_addr,
        user_agent = agent,
        referrer = var.http_referer,
        language = var.http_accept_language,
        dnt = var.http_dnt == "1" or var.http_sec_gpc == "1",
        -- Keyed: without a key, an address could be found by trying all of IPv4.  (HMAC-SHA-1 is what nginx has.)
        session_id = as_uuid(to_hex(ngx.hmac_sha1(settings.secret, visitor))),
        page_id = as_uuid(var.request_id),
    })
    local length, err = queue:rpush("items", item)
    if not length then ngx.log(ngx.ERR, "hitline: a pageview is lost, lua_shared_dict hitline is full: ", err) end
end

local function take()
    local items, bytes = {}, 0
    while #items < BATCH and bytes < MAX_BYTES do
        local item = queue:lpop("items")
        if not item then break end
        items[#items + 1] = item
        bytes = bytes + #item
    end
    return items
end

-- Returns the status and Retry-After, nil where there was no answer.
local function post(items)
    local socket = ngx.socket.tcp()
    socket:settimeouts(5000, 10000, 30000)
    if not socket:connect(settings.host, settings.port) then return nil end
    if settings.tls and not socket:sslhandshake(nil, settings.host, true) then return nil end
    local body = table.concat(items, "\n")
    local sent = socket:send({
        "POST /api/ingest/server/pageviews HTTP/1.1\r\nHost: ", settings.host, "\r\nAuthorization: Bearer ", settings.token,
        "\r\nContent-Type: application/x-ndjson\r\nConnection: close\r\nContent-Length: ", #body, "\r\n\r\n", body,
    })
    if not sent then return nil end
    local answer = socket:receive("*a")
    socket:close()
    local status = answer and tonumber(answer:match("^HTTP/1%.%d (%d%d%d)"))
    local head = answer and answer:match("^(.-)\r\n\r\n") or ""
    local refused_for_now = status == 202 and answer:find('"status":%s*503')
    return refused_for_now and 503 or status, tonumber(head:lower():match("\r\nretry%-after:%s*(%d+)"))
end

-- Sends a batch until it is taken, or refused for good.  Every item has a page_id, so that repeating stores nothing twice.
local function deliver(items)
    local wait = 0.5
    while true do
        local status, retry_after = post(items)
        if status == 202 then return end
        if status == 413 and #items > 1 then
            local half = math.floor(#items / 2)
            deliver({unpack(items, 1, half)})
            return deliver({unpack(items, half + 1)})
        end
        if status == 400 or status == 404 or status == 413 then
            ngx.log(ngx.ERR, "hitline: ", #items, " pageviews were refused for good with status ", status)
            return
        end
        ngx.log(ngx.WARN, "hitline: status ", status or "none", ", repeating ", #items, " pageviews")
        if ngx.worker.exiting() then
            for index = #items, 1, -1 do queue:lpush("items", items[index]) end  -- for the next worker after a reload
            return
        end
        ngx.sleep(math.max(wait, retry_after or 0))
        wait = math.min(wait * 2, MAX_WAIT_S)
    end
end

local function flush(premature)
    repeat
        local items = take()
        if #items > 0 then deliver(items) end
    until #items == 0 or ngx.worker.exiting()
    if not premature and not ngx.worker.exiting() then assert(ngx.timer.at(1, flush)) end
end

-- In init_worker_by_lua: options are host, port, tls, token, secret.
function _M.start(options)
    settings, queue = options, ngx.shared.hitline
    assert(ngx.timer.at(1, flush))
end

return _M
