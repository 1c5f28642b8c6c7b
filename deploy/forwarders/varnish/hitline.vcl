vcl 4.1;

# Run varnishd with `-p vsl_reclen=4084`: the default cuts each header at 255 bytes in the log.
# varnishncsa writes the log, `hitline replay --follow` sends it:
#   varnishncsa -a -w /var/log/varnish/hitline.log -q 'not VCL_Log:hitline' -F "$(cat /etc/varnish/hitline.format)"
#   hitline replay --follow --forwarded-for /var/log/varnish/hitline.log

backend default {
    .host = "127.0.0.1";
    .port = "8081";
}

import std;

sub vcl_recv {
    # Fetched in case it is opened later: nobody has seen it.
    if (req.http.Sec-Purpose ~ "(?i)prefetch" || req.http.Purpose ~ "(?i)prefetch|preview" || req.http.X-Moz ~ "(?i)prefetch") {
        std.log("hitline:prefetch");
    }
    # No Do Not Track column in the combined format: leave these visitors out here.
    if (req.http.DNT == "1" || req.http.Sec-GPC == "1") {
        std.log("hitline:dnt");
    }
}
