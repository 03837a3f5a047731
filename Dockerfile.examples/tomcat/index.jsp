<%@ page contentType="text/html; charset=UTF-8" %>
<!DOCTYPE html>
<title>Tomcat</title>
<h1>Hello from <%= application.getServerInfo() %></h1>
<p>Java <%= System.getProperty("java.version") %></p>
