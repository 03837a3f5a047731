# The registry alone: a static program and a folder for its data.
#
#   rbuild -t rregistry -f packaging/images/registry.Dockerfile target/dist
#   rbuild run -d -p 5000:5000 -v registry:/var/lib/rregistry rregistry
FROM scratch
COPY bin/rregistry /bin/rregistry
COPY etc/ssl/certs/ca-certificates.crt /etc/ssl/certs/ca-certificates.crt
COPY --chown=10000:10000 empty/ /var/lib/rregistry/
COPY --chmod=1777 empty/ /tmp/
ENV RREGISTRY_ADDR=:5000 RREGISTRY_DATA_DIR=/var/lib/rregistry
USER 10000:10000
EXPOSE 5000
VOLUME /var/lib/rregistry
ENTRYPOINT ["/bin/rregistry"]
CMD ["serve"]
