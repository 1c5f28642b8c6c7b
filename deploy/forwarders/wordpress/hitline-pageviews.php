<?php
/**
 * Plugin Name: Hitline pageviews
 * Description: Spools a pageview for each page that a visitor looks at; `php hitline.php` ships them.
 *
 * Not run here: see docs/forwarders/wordpress.md.  Put this file and ../php/hitline.php into wp-content/mu-plugins, and
 * into wp-config.php:
 *     define('HITLINE_SPOOL', '/var/spool/hitline');        // writable for the web server, outside of the document root
 *     define('HITLINE_SESSION_SECRET', '…');                // openssl rand -hex 32
 *     define('HITLINE_BEHIND_PROXY', false);
 *
 * A page cache that answers before PHP (WP Super Cache's mod_rewrite, a CDN) hides pageviews from it: take the web
 * server's log then.
 */

if (!defined('ABSPATH')) {
    exit;
}

require_once __DIR__ . '/hitline.php';

add_action('shutdown', function (): void {
    $isPage = !is_admin() && !wp_doing_ajax() && !wp_doing_cron() && !is_feed() && !is_robots() && !is_preview()
        && !(defined('REST_REQUEST') && REST_REQUEST) && !(defined('XMLRPC_REQUEST') && XMLRPC_REQUEST)
        && !current_user_can('edit_posts');
    if ($isPage && defined('HITLINE_SPOOL')) {
        $behindProxy = defined('HITLINE_BEHIND_PROXY') && HITLINE_BEHIND_PROXY;
        (new Hitline(HITLINE_SPOOL, HITLINE_SESSION_SECRET, $behindProxy))->pageview();
    }
});
