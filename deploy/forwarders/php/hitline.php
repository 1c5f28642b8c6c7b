<?php
/*
 * Pageviews of a PHP site to Hitline: written to a spool on disk, shipped by a process of its own.
 *
 * In the site, at the end of a request (or from register_shutdown_function):
 *     require 'hitline.php';
 *     (new Hitline('/var/spool/hitline', getenv('HITLINE_SESSION_SECRET')))->pageview();
 * Beside it, as a service:
 *     HITLINE_TOKEN=hl_… php hitline.php /var/spool/hitline http://127.0.0.1:8080
 *
 * A request only appends a line; the shipper repeats a batch until it is taken.  Every pageview has its page_id from the
 * start, so that repeating stores nothing twice.  PHP 8.0 and later, with the curl extension for the shipper.
 */

final class HitlineSpool
{
    public function __construct(private string $directory)
    {
        if (!is_dir($directory)) {
            mkdir($directory, 0700, true);
        }
    }

    public function append(string $line): void
    {
        $lock = $this->locked(LOCK_SH);
        file_put_contents("$this->directory/current.ndjson", $line . "\n", FILE_APPEND | LOCK_EX);
        fclose($lock);
    }

    /** The files that are to be shipped, the oldest first; nobody appends to them any more. */
    public function take(): array
    {
        $lock = $this->locked(LOCK_EX);
        clearstatcache();
        if (file_exists("$this->directory/current.ndjson")) {
            rename("$this->directory/current.ndjson", sprintf('%s/%020d.ndjson', $this->directory, hrtime(true) + time() * 1e9));
        }
        fclose($lock);
        return glob("$this->directory/[0-9]*.ndjson");
    }

    private function locked(int $how)
    {
        $lock = fopen("$this->directory/lock", 'c');
        flock($lock, $how);
        return $lock;
    }
}

final class Hitline
{
    private const STATIC_FILE = '/\.(js|mjs|css|map|json|xml|txt|png|jpe?g|gif|webp|avif|ico|svg|woff2?|ttf|otf|eot|mp[34]|webm|pdf|zip|gz|jar)$/i';

    private HitlineSpool $spool;

    /** $behindProxy: believe the last address of X-Forwarded-For. */
    public function __construct(string $spool, private string $secret, private bool $behindProxy = false)
    {
        $this->spool = new HitlineSpool($spool);
    }

    /** Spool the present request, if somebody looks at its page. */
    public function pageview(): void
    {
        if ($this->isPage()) {
            $flags = JSON_INVALID_UTF8_SUBSTITUTE | JSON_UNESCAPED_SLASHES | JSON_THROW_ON_ERROR;
            $this->spool->append(json_encode($this->item(), $flags));
        }
    }

    private function isPage(): bool
    {
        $purpose = self::header('SEC_PURPOSE') . ' ' . self::header('PURPOSE') . ' ' . self::header('X_MOZ');
        $path = strtok($_SERVER['REQUEST_URI'], '?') ?: '/';
        return $_SERVER['REQUEST_METHOD'] === 'GET' && in_array(http_response_code(), [200, 304], true)
            && !preg_match(self::STATIC_FILE, $path) && !preg_match('/prefetch|preview/i', $purpose);
    }

    private function item(): array
    {
        $forwarded = explode(',', self::header('X_FORWARDED_FOR'));
        $address = $this->behindProxy && end($forwarded) !== '' ? trim(end($forwarded)) : $_SERVER['REMOTE_ADDR'];
        $agent = trim(self::header('USER_AGENT'));
        $agent = $agent === '' ? '-' : $agent; // a visitor without one; Hitline flags it as a bot
        $scheme = empty($_SERVER['HTTPS']) || $_SERVER['HTTPS'] === 'off' ? 'http' : 'https';
        return [
            'url' => "$scheme://$_SERVER[HTTP_HOST]$_SERVER[REQUEST_URI]",
            'timestamp' => (new DateTimeImmutable('now', new DateTimeZone('UTC')))->format('Y-m-d\TH:i:s.v\Z'),
            'visitor_ip' => $address,
            'user_agent' => $agent,
            'referrer' => self::header('REFERER'),
            'language' => self::header('ACCEPT_LANGUAGE'),
            'dnt' => self::header('DNT') === '1' || self::header('SEC_GPC') === '1',
            'session_id' => $this->session($address, $agent),
            'page_id' => self::uuid(random_bytes(16), 4),
        ];
    }

    /** A visitor's half hour, keyed: without a key, an address could be found by trying all of IPv4. */
    private function session(string $address, string $agent): string
    {
        $visitor = implode("\n", [$address, $agent, intdiv(time(), 1800)]);
        return self::uuid(substr(hash_hmac('sha256', $visitor, $this->secret, true), 0, 16), 8);
    }

    private static function uuid(string $raw, int $version): string
    {
        $raw[6] = chr(ord($raw[6]) & 0x0F | $version << 4);
        $raw[8] = chr(ord($raw[8]) & 0x3F | 0x80);
        return vsprintf('%s%s-%s-%s-%s-%s%s%s', str_split(bin2hex($raw), 4));
    }

    private static function header(string $name): string
    {
        return $_SERVER["HTTP_$name"] ?? '';
    }
}

final class HitlineShipper
{
    private const BATCH_ITEMS = 500;
    private const BATCH_BYTES = 1048576;

    private HitlineSpool $spool;
    private array $answerHeaders = [];

    public function __construct(string $spool, private string $url, private string $token)
    {
        $this->spool = new HitlineSpool($spool);
    }

    public function run(): never
    {
        while (true) {
            foreach ($this->spool->take() as $path) {
                foreach ($this->batches(file($path, FILE_IGNORE_NEW_LINES | FILE_SKIP_EMPTY_LINES)) as $batch) {
                    $this->deliver($batch);
                }
                unlink($path);
            }
            sleep(1);
        }
    }

    private function deliver(array $items): void
    {
        $wait = 0.5;
        while ($items) {
            [$status, $retryAfter, $body] = $this->post($items);
            if ($status === 202) {
                $again = array_filter($body['errors'], fn($each) => $each['status'] >= 500);
                $items = array_values(array_map(fn($each) => $items[$each['index']], $again));
            } elseif ($status === 413 && count($items) > 1) {
                [$first, $items] = array_chunk($items, intdiv(count($items) + 1, 2));
                $this->deliver($first);
                continue;
            } elseif (in_array($status, [400, 404, 413], true)) {
                fwrite(STDERR, sprintf("hitline: %d pageviews were refused for good: %s\n", count($items), $body['message'] ?? ''));
                return;
            }
            if ($items) { // 401 and 403 too: nothing is lost while somebody mends the token
                fwrite(STDERR, sprintf("hitline: status %s, repeating %d pageviews\n", $status ?: 'none', count($items)));
                usleep((int) (max($wait, $retryAfter) * 1e6));
                $wait = min($wait * 2, 30);
            }
        }
    }

    /** [status, Retry-After, body]; status 0 where there was no answer. */
    private function post(array $items): array
    {
        $retryAfter = 0;
        $curl = curl_init(rtrim($this->url, '/') . '/api/ingest/server/pageviews?errors=all');
        curl_setopt_array($curl, [
            CURLOPT_POSTFIELDS => implode("\n", $items),
            CURLOPT_HTTPHEADER => ["Authorization: Bearer $this->token", 'Content-Type: application/x-ndjson', 'Expect:'],
            CURLOPT_RETURNTRANSFER => true,
            CURLOPT_CONNECTTIMEOUT => 5,
            CURLOPT_TIMEOUT => 30,
            CURLOPT_HEADERFUNCTION => function ($_, string $line) use (&$retryAfter): int {
                if (preg_match('/^retry-after:\s*(\d+)/i', $line, $found)) {
                    $retryAfter = (int) $found[1];
                }
                return strlen($line);
            },
        ]);
        $answer = curl_exec($curl);
        $status = $answer === false ? 0 : curl_getinfo($curl, CURLINFO_RESPONSE_CODE);
        $body = json_decode((string) $answer, true);
        return [$status === 202 && !is_array($body) ? 0 : $status, $retryAfter, $body ?? []];
    }

    private function batches(array $items): iterable
    {
        $batch = [];
        $bytes = 0;
        foreach ($items as $item) {
            if ($batch && (count($batch) >= self::BATCH_ITEMS || $bytes + strlen($item) > self::BATCH_BYTES)) {
                yield $batch;
                [$batch, $bytes] = [[], 0];
            }
            $batch[] = $item;
            $bytes += strlen($item);
        }
        if ($batch) {
            yield $batch;
        }
    }
}

if (PHP_SAPI === 'cli' && realpath($argv[0]) === __FILE__) {
    (new HitlineShipper($argv[1], $argv[2], getenv('HITLINE_TOKEN')))->run();
}
