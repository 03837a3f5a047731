# The builder in a container, for pipelines whose steps are containers. It makes containers of its
# own, so it is run with the rights to do so, and keeps its store in a volume:
#
#   rbuild -t rbuild -f packaging/images/rbuild.Dockerfile target/dist
#   rbuild run --rm --privileged -v builds:/var/lib/rbuild -v "$PWD:/work" rbuild -t app:v1 .
FROM scratch
COPY bin/rbuild /bin/rbuild
COPY etc/ssl/certs/ca-certificates.crt /etc/ssl/certs/ca-certificates.crt
COPY --chmod=1777 empty/ /tmp/
COPY --chmod=0700 empty/ /root/
ENV PATH=/bin HOME=/root
WORKDIR /work
VOLUME /var/lib/rbuild
ENTRYPOINT ["/bin/rbuild"]
