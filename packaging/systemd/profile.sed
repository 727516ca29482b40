# Makes the template units of cloud profiles from the units of tedge-c8y-proxy. The service of a profile
# has its own directories, and is part of thin-edge.io's unit for that profile.
s/tedge-c8y-proxy-renew\.path/tedge-c8y-proxy-renew@%i.path/
s/tedge-c8y-proxy\.service/tedge-c8y-proxy@%i.service/
s/tedge-mapper-c8y\.service/tedge-mapper-c8y@%i.service/
s|/run/tedge-c8y-proxy/|/run/tedge-c8y-proxies/%i/|
s|^RuntimeDirectory=tedge-c8y-proxy/|RuntimeDirectory=tedge-c8y-proxies/%i/|
s/^CacheDirectory=tedge-c8y-proxy/&@%i/
s|^InaccessiblePaths=.*|InaccessiblePaths=/run/tedge-file-transfer -/run/tedge-c8y-proxy|
s|^Description=.*|& (profile %i)|
s|^User=tedge|Environment=TEDGE_CLOUD_PROFILE=%i\n&|
s|neither c8y.url nor c8y.http is set|no c8y.url is set for this profile|
